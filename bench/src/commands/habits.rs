//! YCSB's flags, as its users' scripts write them.

use std::ffi::{OsStr, OsString};

/// Long flags with one dash.
const LONG: [&str; 3] = ["-threads", "-target", "-label"];

/// Turns `-threads 4` into `--threads 4`, `-load` and `-t` without a command into `load` and `run`, and leaves out what
/// chooses among YCSB's databases. Other commands are left alone.
pub(crate) fn translate(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let is = |argument: &OsString, text: &str| argument == OsStr::new(text);
    let has = |arguments: &[OsString], text: &str| arguments.iter().any(|argument| is(argument, text));
    match arguments.get(1) {
        Some(first) if is(first, "load") || is(first, "run") || is(first, "compare") => {}
        Some(_) if has(&arguments, "-load") => arguments.insert(1, "load".into()),
        Some(first) if has(&arguments, "-t") && first.as_encoded_bytes().starts_with(b"-") => {
            arguments.insert(1, "run".into());
        }
        _ => return arguments,
    }
    let mut translated = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        if is(&argument, "-db") {
            rest.next();
        } else if let Some(flag) = LONG.iter().find(|flag| is(&argument, flag)) {
            translated.push(format!("-{flag}").into());
        } else if !is(&argument, "-load") && !is(&argument, "-t") {
            translated.push(argument);
        }
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> String {
        let arguments = translate(line.split(' ').map(OsString::from));
        arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scripts_of_ycsb_keep_their_flags() {
        assert_eq!(
            translated("b run -P w -threads 4 -target 9 -s -t"),
            "b run -P w --threads 4 --target 9 -s"
        );
        assert_eq!(translated("b -load -db x.Y -P w"), "b load -P w");
        assert_eq!(translated("b -t -P w -p a=b"), "b run -P w -p a=b");
    }

    #[test]
    fn other_commands_are_left_alone() {
        for line in ["b verify --nodes 3", "b --help", "b report x.json"] {
            assert_eq!(translated(line), line);
        }
    }
}
