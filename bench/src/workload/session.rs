//! A client's course through a workload.

use std::sync::Arc;

use rand::SeedableRng;

use super::{
    Operation,
    records::Records,
    settings::{Phase, ScanLength, Workload},
};
use crate::generators::Random;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What.
    pub operation: Operation,
    /// The record's number.
    pub record: u64,
    /// Its key.
    pub key: String,
    /// Records that a scan asks for.
    pub scan_length: u64,
}

/// One client's draws from a workload.
#[derive(Debug)]
pub struct Session {
    workload: Arc<Workload>,
    records: Records,
    /// The client's random stream, also for the bytes of values.
    pub random: Random,
}

impl Session {
    /// The `client`th stream of `seed`.
    #[must_use]
    pub fn new(workload: Arc<Workload>, seed: u64, client: u64) -> Self {
        let records = workload.records.clone();
        let random = Random::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ client);
        Self { workload, records, random }
    }

    /// The next task; None if a load is complete.
    pub fn next(&mut self, phase: Phase) -> Option<Task> {
        let workload = &self.workload;
        let operation = match phase {
            Phase::Load => Operation::Insert,
            Phase::Run => workload.operations.next(&mut self.random),
        };
        let record = match (phase, operation) {
            (Phase::Load, _) => {
                let number = workload.to_load.next();
                if number >= workload.load_end {
                    return None;
                }
                number
            }
            (Phase::Run, Operation::Insert) => workload.inserted.next(),
            (Phase::Run, _) => self.records.next(&workload.inserted, &mut self.random),
        };
        let scan_length = match (&workload.scan_length, operation) {
            (ScanLength::Uniform(lengths), Operation::Scan) => lengths.next(&mut self.random),
            (ScanLength::Zipfian(lengths), Operation::Scan) => lengths.next(&mut self.random),
            _ => 0,
        };
        Some(Task { operation, record, key: workload.keys.name(record), scan_length })
    }

    /// An insert has ended, well or badly: later operations may ask for the record.
    pub fn inserted(&self, record: u64) {
        self.workload.inserted.acknowledge(record);
    }
}
