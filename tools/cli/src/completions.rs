//! Shell completions of all tools, made of their descriptions.

use std::fmt::Write;
use std::process::ExitCode;

use crate::description::Description;
use crate::options::{Offer, Shown, Takes};

const USAGE: &str = "\
Usage: vrouter-completions bash|zsh|fish
  prints the completions of all tools: source <(vrouter-completions bash), source <(vrouter-completions zsh),
  vrouter-completions fish | source
";

/// The command `vrouter-completions`.
pub fn completions() -> ExitCode {
    let shell = std::env::args().nth(1);
    let tools = crate::descriptions();
    let text = match shell.as_deref() {
        Some("bash") => bash(&tools),
        Some("zsh") => zsh(&tools),
        Some("fish") => fish(&tools),
        _ => {
            print!("{USAGE}");
            return ExitCode::from(1);
        }
    };
    print!("{text}");
    ExitCode::SUCCESS
}

/// Names of an option with their dashes, the long one first.
fn names(option: &Shown) -> Vec<String> {
    let long = (!option.long.is_empty()).then(|| format!("--{}", option.long));
    long.into_iter().chain(option.short.chars().map(|letter| format!("-{letter}"))).collect()
}

fn offer(option: &Shown) -> Option<Offer> {
    match option.takes {
        Takes::Nothing => None,
        Takes::Value { offer, .. } => Some(offer),
    }
}

fn bash(tools: &[Description]) -> String {
    let mut text = String::new();
    for tool in tools {
        let function = format!("_vrouter_{}", tool.name);
        let _ = write!(
            text,
            "{function}() {{\n  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n  \
             COMPREPLY=()\n  case $before in\n"
        );
        for option in tool.shown() {
            let Some(offer) = offer(option) else { continue };
            let action = match offer {
                Offer::Nothing => "return".to_owned(),
                Offer::Words(words) => {
                    format!("COMPREPLY=($(compgen -W '{}' -- \"$word\")); return", words.join(" "))
                }
                Offer::Directory => "COMPREPLY=($(compgen -d -- \"$word\")); return".to_owned(),
                Offer::File => "COMPREPLY=($(compgen -f -- \"$word\")); return".to_owned(),
                Offer::Device => {
                    "COMPREPLY=($(compgen -W \"$(ls /sys/class/net)\" -- \"$word\")); return"
                        .to_owned()
                }
            };
            let _ = writeln!(text, "    {}) {action} ;;", names(option).join("|"));
        }
        let words = tool.words.iter().map(ToString::to_string);
        let all: Vec<String> = words.chain(tool.shown().flat_map(names)).collect();
        let _ = write!(
            text,
            "  esac\n  COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n}}\ncomplete -F {function} {}\n",
            all.join(" "),
            tool.name
        );
    }
    text
}

fn zsh(tools: &[Description]) -> String {
    let mut text =
        "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n".to_owned();
    for tool in tools {
        let function = format!("_vrouter_{}", tool.name);
        let _ = writeln!(text, "{function}() {{\n  _arguments \\");
        for option in tool.shown() {
            let value = match option.takes {
                Takes::Nothing => String::new(),
                Takes::Value { name, offer } => {
                    let action = match offer {
                        Offer::Nothing => " ".to_owned(),
                        Offer::Words(words) => format!("({})", words.join(" ")),
                        Offer::Directory => "_files -/".to_owned(),
                        Offer::File => "_files".to_owned(),
                        Offer::Device => "_net_interfaces".to_owned(),
                    };
                    format!(":{name}:{action}")
                }
            };
            let help = option.help.replace('\'', "'\\''").replace([':', '[', ']'], " ");
            for name in names(option) {
                let _ = writeln!(text, "    '*{name}[{help}]{value}' \\");
            }
        }
        let words = match tool.words {
            [] => String::new(),
            words => format!("({})", words.join(" ")),
        };
        let _ = writeln!(text, "    '*: :{words}'\n}}\ncompdef {function} {}", tool.name);
    }
    text
}

fn fish(tools: &[Description]) -> String {
    let mut text = String::new();
    for tool in tools {
        let words = match tool.words {
            [] => String::new(),
            words => format!(" -a '{}'", words.join(" ")),
        };
        let _ = writeln!(text, "complete -c {} -f{words}", tool.name);
        for option in tool.shown() {
            let _ = write!(text, "complete -c {}", tool.name);
            if !option.long.is_empty() {
                let _ = write!(text, " -l {}", option.long);
            }
            for letter in option.short.chars() {
                let _ = write!(text, " -s {letter}");
            }
            let value = match offer(option) {
                None => "",
                Some(Offer::Nothing) => " -x",
                Some(Offer::Words(words)) => &format!(" -x -a '{}'", words.join(" ")),
                Some(Offer::Directory) => " -x -a '(__fish_complete_directories)'",
                Some(Offer::File) => " -r -F",
                Some(Offer::Device) => " -x -a '(__fish_print_interfaces)'",
            };
            let help = option.help.replace('\\', "\\\\").replace('\'', "\\'");
            let _ = writeln!(text, "{value} -d '{help}'");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_every_tool_is_completed_in_every_shell() {
        let tools = crate::descriptions();
        let (bash, zsh, fish) = (bash(&tools), zsh(&tools), fish(&tools));
        for tool in &tools {
            assert!(bash.contains(&format!("complete -F _vrouter_{0} {0}\n", tool.name)));
            assert!(zsh.contains(&format!("compdef _vrouter_{0} {0}\n", tool.name)));
            for option in tool.shown().filter(|option| !option.long.is_empty()) {
                let (long, name) = (option.long, tool.name);
                assert!(bash.contains(&format!("--{long}")), "{name} {long}");
                assert!(zsh.contains(&format!("'*--{long}[")), "{name} {long}");
                assert!(fish.contains(&format!("complete -c {name} -l {long}")), "{name} {long}");
            }
            assert!(tool.usage().starts_with(&format!("Usage: {} ", tool.name)));
        }
    }
}
