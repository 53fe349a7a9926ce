//! Load on a cluster, as `helenus-bench` makes it.

use std::{path::Path, sync::Arc, time::Duration};

use helenus_bench::{
    client::{Endpoint, Protocol},
    load::{self, Plan, Routing, Target},
    properties::Properties,
    workload::{Phase, Workload},
};

use super::TestCluster;

/// A workload of four clients and the cluster it is for.
pub struct Load {
    plan: Plan,
    target: Target,
}

impl Load {
    /// Of a file in config/workloads, with other properties; the table is created if it is missing.
    pub fn new(cluster: &TestCluster, file: &str, properties: &[&str], routing: Routing) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/workloads").join(file);
        let properties: Vec<String> = properties.iter().map(|&property| property.to_owned()).collect();
        let properties = Properties::read(&[file], &properties).expect("they are properties");
        let workload = Arc::new(Workload::new(&properties).expect("it is a workload"));
        let urls: Vec<String> = (1..=cluster.nodes.len()).map(|number| cluster.url(number)).collect();
        let endpoints: Result<Arc<[Endpoint]>, _> = urls.iter().map(|url| Endpoint::resolve(url)).collect();
        let protocol = Protocol::Helenus { table: workload.table.clone(), consistency: None };
        let target = Target::prepare(&urls, &protocol, routing).expect("it has the table");
        let plan = Plan {
            phase: Phase::Load,
            workload,
            protocol: Arc::new(protocol),
            endpoints: endpoints.expect("they are addresses"),
            routes: target.routes.clone(),
            clients: 4,
            threads: 1,
            target: None,
            operations: None,
            duration: None,
            warmup: Duration::ZERO,
            timeout: Duration::from_secs(30),
            seed: 1,
            interrupt: Arc::default(),
        };
        Self { plan, target }
    }

    /// Does so many operations of a phase, each of which must succeed.
    pub fn carry_out(&mut self, phase: Phase, operations: u64) {
        self.plan.phase = phase;
        self.plan.operations = Some(operations);
        let settings = self.plan.settings(&self.target.table);
        let run = load::run(&self.plan, &self.target, settings, |_| {}).expect("it runs");
        assert_eq!((run.succeeded, run.failed), (operations, 0), "{:?}", run.operations);
    }
}
