//! Shell completions.
//!
//! **Owns** the script of each shell. **Must never touch** the definition of a command.
//! **Invariant**: a hidden flag is not completed. After `stress --spawn --`, bash, zsh and fish complete
//! the flags of `serve`; clap_complete cannot describe arguments that are those of another command.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command};
use clap_complete::{Shell, generate};

/// The script that completes `definition` in a shell.
pub(super) fn script(shell: Shell, definition: Command) -> String {
    let mut definition = for_shells(definition);
    let mut script = Vec::new();
    generate(shell, &mut definition, "helloop", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + BASH,
        Shell::Zsh => script.replacen("_helloop() {\n", ZSH, 1),
        Shell::Fish => script + &fish(&definition),
        _ => script,
    }
}

/// Completes what follows `--` as the arguments of `helloop serve`.
const BASH: &str = r#"
# After `helloop stress --spawn --` follow the flags of `helloop serve`.
_helloop_with_server() {
    local index
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} == -- ]]; then
            local -a after=("${COMP_WORDS[@]:index+1}")
            local -i at=$((COMP_CWORD - index + 1))
            local -a COMP_WORDS=("$1" serve "${after[@]}")
            local -i COMP_CWORD=$at
            _helloop "$1" "$2" "${COMP_WORDS[COMP_CWORD-1]}"
            return
        fi
    done
    _helloop "$@"
}
complete -F _helloop_with_server -o bashdefault -o default helloop
"#;

/// The start of the function, which the generated script calls.
const ZSH: &str = r#"_helloop() {
    # After `helloop stress --spawn --` follow the flags of `helloop serve`.
    local -i dashes=${words[(i)--]}
    if (( dashes < CURRENT )); then
        words=("$words[1]" serve "${(@)words[dashes+1,-1]}")
        (( CURRENT -= dashes - 2 ))
    fi
"#;

/// What clap_complete leaves out for fish: arguments with a list of values; and the flags of `serve`,
/// offered as arguments after `--`, where fish completes no flags.
fn fish(definition: &Command) -> String {
    arguments_for_fish(definition) + &server_flags_for_fish(definition)
}

fn arguments_for_fish(definition: &Command) -> String {
    let mut script = String::new();
    for command in definition.get_subcommands() {
        let name = command.get_name();
        for argument in command.get_positionals() {
            let values = argument.get_possible_values();
            let values: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
            if !values.is_empty() {
                script += &format!(
                    "complete -c helloop -n '__fish_helloop_using_subcommand {name}' -f -a '{}'\n",
                    values.join(" ")
                );
            }
        }
    }
    script
}

fn server_flags_for_fish(definition: &Command) -> String {
    let serve = definition.find_subcommand("serve");
    let flags = serve.into_iter().flat_map(Command::get_arguments);
    let mut script = "
# After `helloop stress --spawn --` follow the flags of `helloop serve`.
function __fish_helloop_after_dashes
    contains -- -- (commandline -opc)
end
"
    .to_owned();
    for flag in flags {
        if let (Some(long), Some(help)) = (flag.get_long(), flag.get_help()) {
            let help = help.to_string().replace('\'', "\\'");
            script += &format!(
                "complete -c helloop -n __fish_helloop_after_dashes -f -a '--{long}' -d '{help}'\n"
            );
        }
    }
    script
}

/// Copies the definition without hidden flags, which `clap_complete` would offer.
fn for_shells(definition: Command) -> Command {
    let flags = definition.get_arguments().cloned();
    let flags: Vec<Arg> = flags
        .filter(|flag| !flag.is_hide_set())
        .map(for_shell)
        .collect();
    let commands = definition.get_subcommands().cloned().map(for_shells);
    let mut copy = Command::new(definition.get_name().to_owned())
        .about(definition.get_about().cloned().unwrap_or_default())
        .args(flags)
        .subcommands(commands);
    if let Some(version) = definition.get_version() {
        copy = copy.version(version.to_owned());
    }
    copy
}

/// Without hidden values, and without the colon of `ADDR:PORT`: in zsh it ends the name of a value.
fn for_shell(flag: Arg) -> Arg {
    let names = flag.get_value_names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| name.replace(':', " ")).collect();
    let mut values = flag.get_possible_values();
    let flag = match values.iter().any(PossibleValue::is_hide_set) {
        true => {
            values.retain(|value| !value.is_hide_set());
            flag.value_parser(PossibleValuesParser::new(values))
        }
        false => flag,
    };
    match names.is_empty() {
        true => flag,
        false => flag.value_names(names),
    }
}
