//! The file in the data directory that keeps changed settings.
//!
//! ```text
//! # Kept by `helenus admin settings`; the last line is a checksum of the others.
//! coordinator.read_timeout=50ms
//! crc32=1f0d2a77
//! ```
//!
//! It is replaced as a whole, so no crash leaves half of it. One that is damaged keeps the node from starting: with
//! it left out, the node would run with other settings than it was given, and nobody would notice.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use super::{LIVE_SETTINGS, MAX_VALUE_BYTES, alone};

const NAME: &str = "live-settings";
const HEADER: &str = "# Kept by `helenus admin settings`; the last line is a checksum of the others.";
const CHECKSUM: &str = "crc32=";
/// No file of ours is longer.
const MAX_BYTES: usize = (LIVE_SETTINGS.len() + 1) * (MAX_VALUE_BYTES + 128);

/// Settings that were changed while the node ran, and are lost.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} keeps the settings that were changed while the node ran, and cannot be used: {what}. The node does not start \
     with other settings than it was given; to go on, look into the file (it is text), move it away (the configured \
     settings hold then), and repeat the changes with `helenus admin settings set`",
    path = path.display()
)]
pub struct Damaged {
    path: PathBuf,
    what: String,
}

/// What was changed, by name; nothing if there is no file.
///
/// # Errors
/// [`Damaged`].
pub(super) fn read(directory: &Path) -> Result<BTreeMap<&'static str, String>, Damaged> {
    let path = directory.join(NAME);
    let text = match bytes(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => Err(error.to_string()),
        Ok(bytes) if bytes.len() > MAX_BYTES => Err(format!("it is longer than {MAX_BYTES} bytes")),
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| "it is not text".to_owned()),
    };
    text.and_then(|text| parse(&text)).map_err(|what| Damaged { path, what })
}

/// Durably, and all or nothing.
///
/// # Errors
/// What the disk answers; the old file is as it was.
pub(super) fn write(directory: &Path, changed: &BTreeMap<&'static str, String>) -> io::Result<()> {
    let new = directory.join(format!("{NAME}.new"));
    let mut file = File::create(&new)?;
    file.write_all(text(changed).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(changed: &BTreeMap<&'static str, String>) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, value) in changed {
        // A string takes all of it.
        let _ = writeln!(text, "{name}={value}");
    }
    let checksum = checksum(&text);
    text + &checksum
}

fn checksum(lines: &str) -> String {
    format!("{CHECKSUM}{:08x}\n", crc32fast::hash(lines.as_bytes()))
}

fn parse(text: &str) -> Result<BTreeMap<&'static str, String>, String> {
    let end = text.trim_end_matches('\n').rfind('\n').map_or(0, |newline| newline + 1);
    let (lines, last) = text.split_at(end);
    if !last.starts_with(CHECKSUM) {
        return Err("its last line is no checksum: it was cut off, or is none of ours".to_owned());
    }
    if last != checksum(lines) {
        return Err("its checksum is wrong: it is damaged, or was changed by hand".to_owned());
    }
    let settings = lines.lines().filter(|line| !line.starts_with('#'));
    settings.map(setting).collect()
}

fn setting(line: &str) -> Result<(&'static str, String), String> {
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    let known = LIVE_SETTINGS.into_iter().find(|known| *known == name);
    let known =
        known.ok_or_else(|| format!("`{name}` is no setting that can be changed in a running node"))?;
    alone(known, value).map_err(|report| report.render(false))?;
    Ok((known, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed() -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("coordinator.read_timeout", "50ms".to_owned()),
            ("log.filter", "info,a=debug".to_owned()),
        ])
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(parse(&text(&changed())), Ok(changed()));
        assert_eq!(parse(&text(&BTreeMap::new())), Ok(BTreeMap::new()));
    }

    #[test]
    fn no_cut_and_no_flipped_bit_goes_unnoticed() {
        let sound = text(&changed());
        for end in 0..sound.len() {
            assert!(parse(&sound[..end]).is_err(), "cut to {end} bytes");
        }
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_noticed = String::from_utf8(bytes).map_or(true, |text| parse(&text).is_err());
            assert!(is_noticed, "bit {bit}");
        }
    }

    #[test]
    fn what_this_version_does_not_take_is_named() {
        let with = |line: &str| {
            let lines = format!("{HEADER}\n{line}\n");
            let checksum = checksum(&lines);
            parse(&(lines + &checksum)).expect_err(line)
        };
        assert!(with("node.rack=r2").contains("`node.rack`"));
        let slow = with("storage.compaction_throughput=1B");
        assert!(slow.contains("must be between 64KiB and 64GiB, is 1B; 0 for no limit"), "{slow}");
    }
}
