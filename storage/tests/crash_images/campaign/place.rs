//! Where the power goes: enough to go there again.

use std::{fmt, str::FromStr};

use helenus_storage::disk::{Fault, Repeat, SimulatedDisk};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A fault that strikes a run: `sync@57` once, `no-space@57+` from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) at: u64,
    pub(crate) repeat: Repeat,
}

const FAULTS: [(&str, Fault); 4] =
    [("io", Fault::Io), ("sync", Fault::Sync), ("no-space", Fault::NoSpace), ("files", Fault::Files)];

impl Strike {
    /// Each kind in turn, once and for ever.
    pub(crate) fn draw(at: u64, turn: u64) -> Self {
        let (_, fault) = FAULTS[(turn % 4) as usize];
        let repeat = if (turn / 4).is_multiple_of(2) { Repeat::Once } else { Repeat::Forever };
        Self { fault, at, repeat }
    }

    pub(crate) fn arm(self, disk: &SimulatedDisk) {
        disk.fail_at(self.at, self.fault, self.repeat);
    }

    fn name(self) -> &'static str {
        FAULTS.iter().find(|(_, fault)| *fault == self.fault).map_or("?", |(name, _)| name)
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let for_ever = if self.repeat == Repeat::Forever { "+" } else { "" };
        write!(formatter, "{}@{}{for_ever}", self.name(), self.at)
    }
}

impl FromStr for Strike {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not like sync@57 or no-space@57+");
        let (name, at) = text.split_once('@').ok_or_else(wrong)?;
        let (_, fault) = FAULTS.into_iter().find(|(known, _)| *known == name).ok_or_else(wrong)?;
        let (at, repeat) = match at.strip_suffix('+') {
            Some(at) => (at, Repeat::Forever),
            None => (at, Repeat::Once),
        };
        Ok(Self { fault, at: at.parse().map_err(|_| wrong())?, repeat })
    }
}

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seed: u64,
    pub(crate) strike: Option<Strike>,
    pub(crate) operation: u64,
}

impl Place {
    /// All chance at this place comes from here, so that it can be visited alone.
    pub(crate) fn random(&self) -> Xoshiro256PlusPlus {
        let strike = self.strike.map_or(0, |strike| {
            let kind = FAULTS.iter().position(|(_, fault)| *fault == strike.fault).unwrap_or(0) as u64;
            strike.at << 4 | kind << 2 | u64::from(strike.repeat == Repeat::Forever) << 1 | 1
        });
        let mixed = [self.seed, strike, self.operation]
            .into_iter()
            .fold(0_u64, |mixed, part| (mixed ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        Xoshiro256PlusPlus::seed_from_u64(mixed)
    }
}

/// As arguments of the command that leads here again.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "--seed {}", self.seed)?;
        if let Some(strike) = self.strike {
            write!(formatter, " --fault {strike}")?;
        }
        write!(formatter, " --operation {}", self.operation)
    }
}
