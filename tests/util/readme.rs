//! Parses the README for the tests: its fenced blocks, commands and tables.

/// The text of the README.
pub const TEXT: &str = include_str!("../../README.md");

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The word after the opening fence.
    pub language: String,
    /// The line number of the opening fence, for error messages.
    pub line: usize,
    /// The lines between the fences, each with its line ending.
    pub text: String,
}

/// All fenced blocks, in order.
pub fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in TEXT.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    line: number + 1,
                    text: String::new(),
                });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block is not closed");
    blocks
}

/// All blocks in `language`.
pub fn blocks_in(language: &str) -> Vec<Block> {
    let mut blocks = blocks();
    blocks.retain(|block| block.language == language);
    blocks
}

/// A command in a console block.
#[derive(Clone, Debug)]
pub struct Command {
    pub line: usize,
    /// The command line after `$ `.
    pub typed: String,
    /// The lines below it, up to the next command.
    pub output: String,
}

/// All commands of all console blocks, in order.
pub fn commands() -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for block in blocks_in("console") {
        assert!(
            block.text.starts_with("$ "),
            "line {}: a console block must begin with a command",
            block.line
        );
        for (number, line) in block.text.lines().enumerate() {
            if let Some(typed) = line.strip_prefix("$ ") {
                commands.push(Command {
                    line: block.line + number + 1,
                    typed: typed.to_owned(),
                    output: String::new(),
                });
            } else if let Some(command) = commands.last_mut() {
                command.output += line;
                command.output.push('\n');
            }
        }
    }
    commands
}

/// Splits a command into words as a shell does, up to a comment, a pipe or a redirection.
pub fn words(typed: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = typed.trim_start();
    while !rest.is_empty() && !rest.starts_with(['#', '|', '>']) {
        let (mut word, mut quoted) = (String::new(), false);
        let end = rest.find(|letter: char| {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted => return true,
                _ => word.push(letter),
            }
            false
        });
        words.push(word);
        rest = rest[end.unwrap_or(rest.len())..].trim_start();
    }
    words
}

/// The rows of the table with this header, split into cells.
pub fn table(head: &[&str]) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim_matches('|');
        inner
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let rows = TEXT.lines().skip_while(|line| cells(line) != head).skip(2);
    let rows: Vec<_> = rows
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect();
    assert!(!rows.is_empty(), "no table {head:?}");
    rows
}

/// All parts of `text` in backticks.
pub fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The text between `start` and the first `end` after it.
pub fn between(start: &str, end: &str) -> &'static str {
    let text = TEXT.split_once(start);
    let (_, text) = text.unwrap_or_else(|| panic!("no {start:?}"));
    let text = text.split_once(end);
    text.unwrap_or_else(|| panic!("no {end:?} after {start:?}"))
        .0
}
