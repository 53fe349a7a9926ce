//! Commands as they are typed into a shell, to be told to people.

use std::{env, path::Path};

/// `helenus local` for the cluster of a directory.
pub(super) fn local(directory: &Path) -> String {
    format!("helenus local{}", option(directory))
}

/// The option that names a directory, with a blank before it; empty where it is the default.
pub(super) fn option(directory: &Path) -> String {
    match env::current_dir() {
        Ok(here) if here.join(".helenus") == directory => String::new(),
        _ => format!(" --dir {}", word(&directory.display().to_string())),
    }
}

/// How to call this program: by its name if that is what the shell finds.
pub(super) fn program() -> String {
    let Ok(own) = env::current_exe() else { return "helenus".to_owned() };
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).map(|path| path.join("helenus")).find(|path| path.is_file());
    let is_own = found.is_some_and(|found| found.canonicalize().ok() == own.canonicalize().ok());
    if is_own { "helenus".to_owned() } else { word(&own.display().to_string()) }
}

fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
