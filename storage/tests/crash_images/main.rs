//! What was acknowledged survives tens of thousands of crashes, those during recovery included.
//!
//! `CRASH_IMAGES` and `CRASH_FROM` ask for another number of images, and another first seed. The example `crash_images`
//! runs millions and shows a single one.

mod campaign;

use campaign::{Workload, campaign, explore, run};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn what_was_acknowledged_survives_thirty_thousand_crashes() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let images = setting("CRASH_IMAGES", 30_000);
    let summary = campaign(setting("CRASH_FROM", 1), images, threads, |_| {});
    println!("{summary:?}");
    for (place, what) in &summary.violations {
        eprintln!("{place}\n    {what}");
    }
    assert!(
        summary.violations.is_empty(),
        "cargo run --release -p helenus-storage --example crash_images -- (above)"
    );
    assert!(summary.images >= images && summary.in_recovery > images / 10, "{summary:?}");
    assert!(summary.faults > summary.seeds && summary.durable > 0, "{summary:?}");
}

#[test]
fn a_seed_always_leads_to_the_same_images() {
    let (first, second) = (explore(3), explore(3));
    assert_eq!((first.images, first.in_recovery), (second.images, second.in_recovery));
    assert_eq!((first.operations, first.durable), (second.operations, second.durable));
}

#[test]
fn a_fault_is_told_by_its_name() {
    for text in ["sync@57", "no-space@1+", "io@3", "files@12+"] {
        assert_eq!(text.parse::<campaign::Strike>().map(|strike| strike.to_string()), Ok(text.to_owned()));
    }
    assert!("sync".parse::<campaign::Strike>().is_err());
    let workload = Workload::draw(2);
    let only = campaign::Only { operation: Some(20), damage: None };
    assert!(run(2, &workload, None, only).images >= 1, "a place can be visited alone");
}
