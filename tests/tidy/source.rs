//! A Rust source file as the rules see it: its code, its prose, and its items.
//!
//! This is a lexer, not a parser. It knows comments, literals and brackets, which is enough to
//! find functions, constants, imports and `#[cfg(test)]` items.

use std::ops::Range;

/// Stands for each character of a literal, so that the literal's lines still count as code.
const LITERAL: char = '~';

/// A piece of text that a person reads, with the line that it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prose {
    pub(crate) line: usize,
    pub(crate) kind: ProseKind,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProseKind {
    /// `//!`
    Header,
    /// `///`
    Doc,
    /// `//` or `/* */`
    Comment,
    /// A string literal: a log, an error, a report.
    Literal,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From the line of `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// A constant or static.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Constant {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) kind: String,
}

#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the package, as in `src/reactor/slots.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without comments, and with each literal masked. Its lines are those of `text`.
    pub(crate) code: String,
    /// `code` without `#[cfg(test)]` items.
    pub(crate) product: String,
    pub(crate) prose: Vec<Prose>,
    /// The whole file is compiled for tests only.
    pub(crate) is_test: bool,
    /// Names of the modules that are declared as `#[cfg(test)] mod name;`.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, prose) = split(text);
        let (product, test_modules) = without_tests(&code);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            product,
            prose,
            is_test: false,
            test_modules,
        }
    }

    /// The modules that are compiled for tests only, as paths without `.rs`.
    pub(crate) fn test_paths(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        let modules = self.test_modules.iter();
        modules.map(|name| format!("{folder}/{name}")).collect()
    }

    /// Marks the file of a module that is compiled for tests only.
    pub(crate) fn mark_as_test(&mut self) {
        self.is_test = true;
        self.product.clear();
    }

    /// Lines of code: no tests, comments or blank lines.
    pub(crate) fn code_lines(&self) -> usize {
        let lines = self.product.lines();
        lines.filter(|line| !line.trim().is_empty()).count()
    }

    /// The leading `//!` comment in one line.
    pub(crate) fn header(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix("//!"));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        words.join(" ")
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let words = words(&self.code);
        let heads = words.windows(2).filter(|pair| pair[0].1 == "fn");
        let functions = heads.filter_map(|pair| {
            let (start, name) = (pair[0].0, pair[1].1);
            let body = body(&self.code, start)?;
            let line = line_of(&self.code, start);
            Some(Function {
                name: name.to_owned(),
                line,
                lines: line_of(&self.code, body.end) - line + 1,
            })
        });
        functions.collect()
    }

    /// Constants outside tests.
    pub(crate) fn constants(&self) -> Vec<Constant> {
        let numbered = (1..).zip(self.product.lines());
        let constants = numbered.filter_map(|(line, text)| {
            let mut text = text.trim_start();
            if let Some(rest) = text.strip_prefix("pub") {
                text = rest.trim_start();
                if text.starts_with('(') {
                    text = text.split_once(')')?.1.trim_start();
                }
            }
            let text = text
                .strip_prefix("const ")
                .or_else(|| text.strip_prefix("static "))?;
            let (name, rest) = text.split_once(':')?;
            let (kind, _) = rest.split_once('=')?;
            let is_constant = name != "_" && name.chars().all(|letter| !letter.is_lowercase());
            is_constant.then(|| Constant {
                name: name.to_owned(),
                line,
                kind: kind.trim().to_owned(),
            })
        });
        constants.collect()
    }
}

/// Separates what the compiler reads from what a person reads.
fn split(text: &str) -> (String, Vec<Prose>) {
    let letters: Vec<char> = text.chars().collect();
    let (mut code, mut prose) = (String::new(), Vec::new());
    let (mut at, mut line) = (0, 1);
    while at < letters.len() {
        let rest = &letters[at..];
        let token = if rest.starts_with(&['/', '/']) {
            let end = rest.iter().position(|letter| *letter == '\n');
            Some((end.unwrap_or(rest.len()), comment_kind(rest), ' '))
        } else if rest.starts_with(&['/', '*']) {
            Some((block_comment(rest), ProseKind::Comment, ' '))
        } else if rest[0] == '"' {
            Some((string(rest, raw_hashes(&code)), ProseKind::Literal, LITERAL))
        } else {
            character(rest).map(|length| (length, ProseKind::Literal, LITERAL))
        };
        let (length, kind, mask) = token.unwrap_or((1, ProseKind::Comment, ' '));
        let piece = &rest[..length];
        if token.is_some() {
            let mask_one = |letter: &char| {
                if letter.is_whitespace() {
                    *letter
                } else {
                    mask
                }
            };
            code.extend(piece.iter().map(mask_one));
            let text = piece.iter().collect();
            prose.push(Prose { line, kind, text });
        } else {
            code.push(piece[0]);
        }
        line += piece.iter().filter(|letter| **letter == '\n').count();
        at += length;
    }
    (code, prose)
}

fn comment_kind(rest: &[char]) -> ProseKind {
    match rest {
        ['/', '/', '!', ..] => ProseKind::Header,
        ['/', '/', '/', '/', ..] => ProseKind::Comment,
        ['/', '/', '/', ..] => ProseKind::Doc,
        _ => ProseKind::Comment,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        let step = match rest[at..] {
            ['/', '*', ..] => 1,
            ['*', '/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
    }
    at
}

/// The number of `#` of the raw string that starts after `code`; none if it is not raw.
fn raw_hashes(code: &str) -> Option<usize> {
    let before = code.trim_end_matches('#');
    let prefix = before.strip_suffix('r')?;
    let prefix = prefix.strip_suffix(['b', 'c']).unwrap_or(prefix);
    let is_word = prefix.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    (!is_word).then(|| code.len() - before.len())
}

/// The length of a string literal from its opening quote to its closing quote.
fn string(rest: &[char], raw_hashes: Option<usize>) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match (rest[at], raw_hashes) {
            ('\\', None) => at += 1,
            ('"', None) => return at + 1,
            ('"', Some(hashes)) => {
                let after = &rest[at + 1..];
                if after.len() >= hashes && after[..hashes].iter().all(|letter| *letter == '#') {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// The length of a character literal; none for a lifetime or anything else.
fn character(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', _, tail @ ..] => {
            let end = tail.iter().position(|letter| *letter == '\'');
            end.map(|end| end + 4)
        }
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

/// Blanks the items that are compiled for tests only, and names their file modules.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut product, mut modules) = (code.to_owned(), Vec::new());
    while let Some(start) = test_attribute(&product) {
        let end = item_end(&product, start);
        let item = &product[start..end];
        if let Some(module) = item
            .split_once("mod ")
            .and_then(|(_, rest)| rest.strip_suffix(';'))
        {
            modules.push(module.trim().to_owned());
        }
        let blank = |letter: char| if letter == '\n' { '\n' } else { ' ' };
        let blanked: String = item.chars().map(blank).collect();
        product.replace_range(start..end, &blanked);
    }
    (product, modules)
}

fn test_attribute(code: &str) -> Option<usize> {
    let forms = ["#[cfg(test)]", "#[cfg(all(test,"];
    forms.iter().filter_map(|form| code.find(form)).min()
}

/// The end of the item, field or variant whose first attribute starts at `start`.
fn item_end(code: &str, start: usize) -> usize {
    const KEYWORDS: [&str; 10] = [
        "pub", "fn", "impl", "mod", "use", "struct", "enum", "trait", "const", "static",
    ];
    let attributes = code[start..].split_inclusive('\n');
    let first = attributes
        .map(str::trim_start)
        .find(|line| !line.starts_with("#["));
    let first = first.unwrap_or_default();
    let is_item = KEYWORDS.iter().any(|keyword| first.starts_with(keyword));
    let mut depth = 0;
    for (at, letter) in code[start..].char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return start + at + 1,
            ',' if depth == 0 && !is_item => return start + at + 1,
            '{' if depth == 0 => return braces(code, start + at).end,
            _ => {}
        }
    }
    code.len()
}

/// The body of the function whose signature starts at `start`; none in a trait's declaration.
fn body(code: &str, start: usize) -> Option<Range<usize>> {
    let mut depth = 0;
    for (at, letter) in code[start..].char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(braces(code, start + at)),
            _ => {}
        }
    }
    None
}

/// From the brace at `start` to the one that closes it.
fn braces(code: &str, start: usize) -> Range<usize> {
    let mut depth = 0;
    for (at, letter) in code[start..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return start..start + at + 1;
        }
    }
    start..code.len()
}

/// The words of code and `::`, each with its offset. All other characters are words of their own.
pub(crate) fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(letter) = code[at..].chars().next() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let rest = &code[at..];
        let length = if is_word(letter) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            letter.len_utf8()
        };
        if !letter.is_whitespace() {
            words.push((at, &rest[..length]));
        }
        at += length;
    }
    words
}

pub(crate) fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}
