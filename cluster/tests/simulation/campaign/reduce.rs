//! From a run that went wrong to the least that makes it go wrong.
//!
//! *Source:* Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input* (2002), §3: leave parts of the
//! schedule out, in halves at first and one by one in the end, as long as it still goes wrong.

use std::time::Duration;

use helenus_cluster::simulation::{Disturbance, weather::Weather};

use super::plan::Plan;

/// The smallest plan found in that many runs that still goes wrong.
pub fn reduce(plan: &Plan, most_runs: usize, goes_wrong: impl Fn(&Plan) -> bool) -> Plan {
    let mut search = Search { goes_wrong, left: most_runs };
    let mut plan = search.without_disturbances(plan.clone());
    let simpler: [fn(&mut Plan); 5] = [
        |plan| plan.shape.rough_formation = false,
        |plan| plan.shape.weather = Weather::CALM,
        |plan| plan.shape.clocks.iter_mut().for_each(|clock| *clock = (0, 0)),
        |plan| plan.workload.clients = plan.workload.clients.div_ceil(2),
        |plan| plan.disturbed = shortest(plan),
    ];
    for simplify in simpler {
        let mut candidate = plan.clone();
        simplify(&mut candidate);
        if search.fails(&candidate) {
            plan = candidate;
        }
    }
    plan
}

struct Search<F> {
    goes_wrong: F,
    left: usize,
}

impl<F: Fn(&Plan) -> bool> Search<F> {
    fn fails(&mut self, plan: &Plan) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        (self.goes_wrong)(plan)
    }

    fn without_disturbances(&mut self, mut plan: Plan) -> Plan {
        let mut size = plan.schedule.len();
        while size > 0 {
            let mut start = 0;
            while start < plan.schedule.len() {
                let end = (start + size).min(plan.schedule.len());
                let mut candidate = plan.clone();
                candidate.schedule.drain(start..end);
                if self.fails(&candidate) {
                    plan = candidate;
                } else {
                    start = end;
                }
            }
            size /= 2;
        }
        plan
    }
}

/// Until the last disturbance is over, and a little more.
fn shortest(plan: &Plan) -> Duration {
    let last = plan.schedule.iter().map(|Disturbance { from, lasts, .. }| *from + *lasts).max();
    plan.disturbed.min(last.unwrap_or_default() + Duration::from_secs(5))
}
