//! What can be done to a simulated cluster.

use std::{fmt, time::Duration};

use helenus_storage::disk::Damage;

/// How many times slower a disk may become.
pub const SLOWEST_DISK: u32 = 1000;

/// How a link that is cut feels to those who use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// Connections break, and new ones fail at once.
    Broken,
    /// Nothing arrives until the link heals; then it does.
    Held,
    /// What is sent is gone, and nobody is told.
    Swallowed,
}

/// A disturbance. Nodes count from 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A process dies, or the power of its machine goes; it is off until the end.
    Crash {
        /// Which.
        node: u32,
        /// What is left of its disk.
        damage: Damage,
    },
    /// The power goes in the midst of a disk operation some operations from now.
    CrashWithin {
        /// Which.
        node: u32,
        /// How many from now.
        operations: u64,
        /// What is left of its disk.
        damage: Damage,
    },
    /// A node dies again and again, each time while it recovers or soon after.
    CrashLoop {
        /// Which.
        node: u32,
        /// What is left of its disk.
        damage: Damage,
        /// Disk operations that each of its processes lives.
        operations: u64,
    },
    /// The power of all machines goes at once; they are off until the end.
    CrashAll {
        /// What is left of their disks.
        damage: Damage,
    },
    /// A node is asked to stop, and starts again at the end.
    Restart {
        /// Which.
        node: u32,
    },
    /// All nodes are asked to stop, one after the other.
    RollingRestart,
    /// A process stands still.
    Pause {
        /// Which.
        node: u32,
    },
    /// Some nodes are cut from the others.
    Partition {
        /// One side.
        side: Vec<u32>,
        /// How it feels.
        silence: Silence,
    },
    /// Some nodes are not heard by the others, but hear them.
    OneWay {
        /// Those who are not heard.
        side: Vec<u32>,
        /// How it feels; connections cannot break one way.
        silence: Silence,
    },
    /// Two halves that only one node joins.
    Bridge {
        /// Who is still heard by all.
        node: u32,
        /// How it feels to the others.
        silence: Silence,
    },
    /// A link breaks and heals all the time.
    Flap {
        /// One end.
        a: u32,
        /// The other.
        b: u32,
        /// Time that it is broken, and whole.
        period: Duration,
    },
    /// Everything to and from a node takes longer.
    Slow {
        /// Which.
        node: u32,
        /// Delay of each direction.
        delay: Duration,
    },
    /// Messages to and from a node are lost and damaged.
    Noise {
        /// Which.
        node: u32,
        /// Share that is lost.
        loss: f64,
        /// Share that is damaged.
        corruption: f64,
    },
    /// A clock jumps, and jumps back at the end.
    ClockJump {
        /// Whose.
        node: u32,
        /// How far.
        by: Duration,
        /// Whether forward.
        forward: bool,
    },
    /// A disk has no space left.
    DiskFull {
        /// Whose.
        node: u32,
    },
    /// A disk is slow.
    DiskSlow {
        /// Whose.
        node: u32,
        /// How many times.
        times: u32,
    },
    /// One of the next operations of a disk fails.
    DiskFails {
        /// Whose.
        node: u32,
        /// How.
        how: helenus_storage::disk::Fault,
        /// How many operations from now.
        operations: u64,
    },
    /// A machine that was off until now starts for the first time, and stays: a node joins a cluster that has records.
    Join {
        /// Which.
        node: u32,
    },
    /// All memtables of a node are switched.
    Flush {
        /// Whose.
        node: u32,
    },
}

/// A fault and its time, from the end of the cluster's formation.
#[derive(Debug, Clone, PartialEq)]
pub struct Disturbance {
    /// What.
    pub fault: Fault,
    /// When it begins.
    pub from: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Fault {
    /// Its stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { damage: Damage::ProcessOnly, .. } => "kill",
            Self::Crash { .. } => "power cut",
            Self::CrashWithin { .. } => "power cut within a disk operation",
            Self::CrashLoop { .. } => "crash loop",
            Self::CrashAll { .. } => "power cut of all",
            Self::Restart { .. } => "restart",
            Self::RollingRestart => "rolling restart",
            Self::Pause { .. } => "pause",
            Self::Partition { .. } => "partition",
            Self::OneWay { .. } => "one-way cut",
            Self::Bridge { .. } => "bridge",
            Self::Flap { .. } => "flapping link",
            Self::Slow { .. } => "slow links",
            Self::Noise { .. } => "loss and corruption",
            Self::ClockJump { .. } => "clock jump",
            Self::DiskFull { .. } => "disk full",
            Self::DiskSlow { .. } => "slow disk",
            Self::DiskFails { .. } => "disk error",
            Self::Join { .. } => "late join",
            Self::Flush { .. } => "forced flush",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::Crash { node, damage } => write!(f, " n{node} ({damage:?})"),
            Self::CrashWithin { node, operations, damage } => {
                write!(f, " n{node} (in {operations} operations, {damage:?})")
            }
            Self::CrashLoop { node, damage, operations } => {
                write!(f, " n{node} (each {operations} operations, {damage:?})")
            }
            Self::CrashAll { damage } => write!(f, " ({damage:?})"),
            Self::RollingRestart => Ok(()),
            Self::Restart { node }
            | Self::Pause { node }
            | Self::DiskFull { node }
            | Self::Join { node }
            | Self::Flush { node } => {
                write!(f, " n{node}")
            }
            Self::Partition { side, silence } | Self::OneWay { side, silence } => {
                write!(f, " {side:?} ({silence:?})")
            }
            Self::Bridge { node, silence } => write!(f, " n{node} ({silence:?})"),
            Self::Flap { a, b, period } => write!(f, " n{a} – n{b} (each {period:?})"),
            Self::Slow { node, delay } => write!(f, " n{node} (+{delay:?})"),
            Self::Noise { node, loss, corruption } => {
                write!(f, " n{node} ({:.0} % lost, {:.0} % damaged)", loss * 100.0, corruption * 100.0)
            }
            Self::ClockJump { node, by, forward } => {
                write!(f, " n{node} ({}{by:?})", if *forward { '+' } else { '-' })
            }
            Self::DiskSlow { node, times } => write!(f, " n{node} ({times} times)"),
            Self::DiskFails { node, how, operations } => {
                write!(f, " n{node} ({how:?} in {operations} operations)")
            }
        }
    }
}

impl Disturbance {
    /// Whether it keeps messages from nodes that all live on, with sound disks and clocks.
    pub fn is_of_network(&self) -> bool {
        matches!(
            self.fault,
            Fault::Pause { .. }
                | Fault::Partition { .. }
                | Fault::OneWay { .. }
                | Fault::Bridge { .. }
                | Fault::Flap { .. }
                | Fault::Slow { .. }
                | Fault::Noise { .. }
        )
    }

    /// How far a clock jumps, if one does.
    pub fn clock_jump(&self) -> Option<Duration> {
        match self.fault {
            Fault::ClockJump { by, .. } => Some(by),
            _ => None,
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s +{:>7.3} s  {}", self.from.as_secs_f64(), self.lasts.as_secs_f64(), self.fault)
    }
}
