//! Everything that a seed decides before the first event.

use std::{fmt, time::Duration};

use helenus_cluster::simulation::{Disturbance, Shape, schedule, stream};
use rand::RngExt;

use super::workload::Workload;

/// What the caller decides for all seeds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Mean length of a run, in simulated minutes.
    pub minutes: f64,
    /// Number of nodes; drawn if not given.
    pub nodes: Option<u32>,
}

/// One run, to be carried out as often as one likes.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    pub workload: Workload,
    pub schedule: Vec<Disturbance>,
    /// How long clients work while it is carried out.
    pub disturbed: Duration,
    /// Whether nothing dies and no disk or clock fails, so that each write is at its replicas or kept for them.
    pub is_peaceful: bool,
}

/// Which part of the seeds is peaceful.
const PEACEFUL: u64 = 5;

impl Plan {
    /// Draws the run of a seed.
    pub fn draw(seed: u64, bounds: Bounds) -> Self {
        let mut random = stream(seed, "plan");
        let shape = Shape::draw(seed, bounds.nodes);
        let [mut levels, mut sessions, mut batches] =
            ["levels", "sessions", "batches"].map(|purpose| stream(seed, purpose));
        let workload = Workload::draw(&mut random, [&mut levels, &mut sessions, &mut batches], &shape);
        let disturbed = Duration::from_secs_f64(bounds.minutes * 60.0 * random.random_range(0.5..1.3));
        let mut schedule = schedule::draw(seed, &shape, disturbed);
        let is_peaceful = seed % PEACEFUL == 2;
        if is_peaceful {
            schedule.retain(Disturbance::is_of_network);
        }
        Self { seed, shape, workload, schedule, disturbed, is_peaceful }
    }

    /// How far two clocks may be apart.
    pub fn clock_skew(&self) -> Duration {
        let shape = &self.shape;
        let offset = shape.clocks.iter().map(|(offset_us, _)| offset_us.unsigned_abs()).max().unwrap_or(0);
        let drift = self.disturbed.as_micros() as u64 / 5_000 + 100_000;
        let jumps: Duration = self.schedule.iter().filter_map(Disturbance::clock_jump).sum();
        2 * (Duration::from_micros(offset + drift) + jumps) + Duration::from_secs(1)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, shape, workload, schedule, disturbed, .. } = self;
        writeln!(
            f,
            "seed {seed}: {} nodes, factor {}, datacenters {:?}, {disturbed:.1?} disturbed",
            shape.nodes, shape.factor, shape.datacenters
        )?;
        writeln!(f, "  weather {:?}", shape.weather)?;
        writeln!(
            f,
            "  clocks {:?}, accepted drift {:?}, rough formation {}, steps take up to {:?}, {} calls at once",
            shape.clocks,
            shape.settings.allowed_drift,
            shape.rough_formation,
            shape.step_time,
            shape.most_calls
        )?;
        writeln!(f, "  {:?}", shape.settings)?;
        writeln!(f, "  {:?}", shape.options)?;
        writeln!(f, "  {workload:?}")?;
        for disturbance in schedule {
            writeln!(f, "  {disturbance}")?;
        }
        Ok(())
    }
}
