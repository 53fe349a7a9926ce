//! Promise: what the README shows of a node that dies and comes back is what one sees. Its commands are run as they stand
//! there, and what they print is compared line by line, but for numbers, sizes, ids and paths.

mod processes;

use std::{env, fs, path::Path, process::Command};

use processes::namespaces::Namespaces;
use tempfile::TempDir;

/// The part of the README.
const SECTION: &str = "## A node dies and comes back";

/// Seconds for a command that waits for something.
const PATIENCE: &str = "120";

/// A command and what it prints.
type Shown = (String, Vec<String>);

/// The commands of the section, in their order.
fn shown() -> Vec<Shown> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("a README");
    let section = readme.lines().skip_while(|line| *line != SECTION).skip(1);
    let mut shown: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for line in section.take_while(|line| !line.starts_with("## ")) {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => is_console = line == "```console",
            Some(command) if is_console => shown.push((command.to_owned(), Vec::new())),
            None if is_console => shown.last_mut().expect("a command first").1.push(line.to_owned()),
            _ => {}
        }
    }
    shown
}

/// A shell in an empty directory on a machine of its own, as far as its network goes: the default ports are free.
struct Newcomer {
    namespaces: Namespaces,
    directory: TempDir,
}

impl Newcomer {
    /// What a command prints, on both streams.
    fn types(&self, command: &str) -> Vec<String> {
        let helenus = Path::new(env!("CARGO_BIN_EXE_helenus")).parent().expect("a directory");
        let path = format!("{}:{}", helenus.display(), env::var("PATH").expect("a path"));
        let output = self
            .namespaces
            .command(1, "timeout")
            .args([PATIENCE, "bash", "-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env_remove("HELENUS_ENDPOINT")
            .output()
            .expect("a shell");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        // Also after a failure; there may be nothing left to stop.
        let _: Vec<String> = self.types("helenus local down --wipe");
    }
}

/// Lines without what differs each time.
fn shape(lines: &[String]) -> Vec<String> {
    let words = |line: &String| -> Vec<String> {
        line.split_whitespace().map(word).filter(|word| !word.is_empty()).collect()
    };
    lines.iter().map(|line| words(line).join(" ")).collect()
}

fn word(word: &str) -> String {
    if let Some((_, file)) = word.split_once("/.helenus").filter(|_| word.starts_with('/')) {
        return format!("PATH/.helenus{file}");
    }
    let is_id = |text: &str| {
        text.len() == 36
            && text.chars().filter(|c| *c == '-').count() == 4
            && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
    };
    let (name, value) = word.split_once('=').map_or(("", word), |(name, value)| (name, value));
    if is_id(value) {
        return format!("{name}ID");
    }
    let mut shape = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' | '.' if shape.ends_with('N') => {}
            '#' if shape.ends_with('#') => {}
            '0'..='9' => {
                if shape.ends_with('-') && shape.len() == 1 {
                    shape.clear();
                }
                shape.push('N');
            }
            other => shape.push(other),
        }
    }
    match shape.as_str() {
        "B" | "KiB" | "MiB" => String::new(),
        "NB" => "N".to_owned(),
        _ => shape,
    }
}

#[test]
fn the_readme_shows_what_one_sees() {
    let namespaces = match Namespaces::create() {
        Ok(namespaces) => namespaces,
        Err(why) => {
            eprintln!("SKIPPED: network namespaces are not permitted here: {why}");
            return;
        }
    };
    if let Err(error) = Command::new("curl").arg("--version").output() {
        eprintln!("SKIPPED: curl does not start: {error}");
        return;
    }
    let newcomer = Newcomer { namespaces, directory: TempDir::new().expect("a directory") };
    let all = shown();
    assert!(all.len() > 15, "the section is found: {all:?}");
    for (command, expected) in all {
        // Once: what takes a moment has to wait for it in the README too.
        let seen = newcomer.types(&command);
        assert_eq!(shape(&seen), shape(&expected), "$ {command}\n{}", seen.join("\n"));
    }
}

#[test]
fn lines_are_compared_but_for_what_differs_each_time() {
    let same = |a: &str, b: &str| shape(&[a.to_owned()]) == shape(&[b.to_owned()]);
    assert!(same(
        "UN 127.0.0.1:7171 0B 16 f8b1ec0a-1111-4222-8333-123456789abc rack1",
        "UN 127.0.0.1:7171   2.5 KiB  16 00000000-0000-4000-8000-000000000000 rack1"
    ));
    assert!(same("removed /tmp/a/.helenus", "removed /tmp/b/c/.helenus"));
    assert!(same("token -17 ###", "token 4711 #####"));
    assert!(!same("UN 127.0.0.1:7171", "DN 127.0.0.1:7171"));
    assert!(!same("\"agree\":true", "\"agree\":false"));
}
