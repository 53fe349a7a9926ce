//! Promise: suspicion accrues as the paper's formula says, whatever the rhythm; a death needs more than a silence; and
//! what a node slept away itself is nobody's silence.

mod setting;

use std::time::{Duration, Instant};

use helenus_cluster::membership::{
    Belief, DetectorSettings, FailureDetector, Verdict,
    phi::{Arrivals, Expectation, ln_of_upper_tail},
};
use setting::host;

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Heartbeats of such intervals, and the time of the last.
fn heard(intervals: impl IntoIterator<Item = f64>) -> (Arrivals, Instant) {
    let mut now = Instant::now();
    let mut arrivals = Arrivals::new(Expectation::every(SECOND), now);
    for interval in intervals {
        now += seconds(interval);
        arrivals.on_heartbeat(now);
    }
    (arrivals, now)
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * other.abs().max(1.0)
}

#[test]
fn the_tail_of_the_normal_distribution_is_exact_far_out() {
    // The logarithm of half the complementary error function of z / √2.
    for (z, expected) in [
        (0.0, -std::f64::consts::LN_2),
        (1.0, -1.841_021_645_009_263_7),
        (-1.0, -0.172_753_779_023_449_87),
        (2.0, -3.783_184_333_682_035),
        (-3.0, -0.001_350_809_964_748_202_3),
        (5.0, -15.064_998_393_988_727),
        (10.0, -53.231_285_151_262_47),
        (40.0, -804.608_442_013_753_8),
    ] {
        let tail = ln_of_upper_tail(z);
        assert!((tail - expected).abs() < 1e-6 * expected.abs(), "z = {z}: {tail} for {expected}");
    }
    assert!(ln_of_upper_tail(1e6).is_finite() && ln_of_upper_tail(-1e6).abs() < 1e-9);
    let steps: Vec<f64> = (-4000..4000).map(|step| ln_of_upper_tail(f64::from(step) / 100.0)).collect();
    assert!(steps.windows(2).all(|pair| pair[1] <= pair[0]), "it only falls");
}

#[test]
fn phi_is_the_exponent_of_the_chance_that_the_next_heartbeat_comes_later() {
    let (arrivals, last) = heard((0..1000).map(|n| if n % 2 == 0 { 0.4 } else { 1.6 }));
    assert!(
        close(arrivals.mean(), 1.0) && close(arrivals.deviation(), 0.6),
        "the first guess has left the window"
    );
    // A silence of mean + z deviations: φ = -log10(Q(z)), with Q(0) = 1/2 and Q(5.612) = 10^-8.
    for (z, phi) in [(0.0, std::f64::consts::LOG10_2), (5.612_001_244_174_789, 8.0)] {
        let now = last + seconds(1.0 + 0.6 * z);
        assert!((arrivals.phi(now) - phi).abs() < 1e-4, "{z}: {}", arrivals.phi(now));
    }
}

#[test]
fn a_rhythm_like_clockwork_is_given_half_an_interval_of_deviation() {
    let (arrivals, last) = heard([1.0; 2000]);
    assert!(close(arrivals.mean(), 1.0) && arrivals.deviation() < 1e-6);
    assert!(arrivals.phi(last + seconds(3.8)) < 8.0 && arrivals.phi(last + seconds(3.81)) > 8.0);
}

#[test]
fn a_long_silence_teaches_no_patience() {
    let (taught, last) = heard([1.0; 100]);
    let (mut interrupted, paused) = heard([1.0; 100]);
    interrupted.on_heartbeat(paused + Duration::from_secs(3600));
    let (phi, after) = (taught.phi(last + seconds(3.0)), interrupted.phi(paused + seconds(3603.0)));
    assert!(close(phi, after), "{phi}, {after}");
}

/// A detector that watches host 2, heard of each second until `now`.
fn watching() -> (FailureDetector, Instant) {
    let mut now = Instant::now();
    let mut detector = FailureDetector::new(DetectorSettings::every(SECOND));
    detector.watch([host(2)], now);
    for _ in 0..100 {
        now += SECOND;
        detector.on_heartbeat(host(2), now);
        detector.on_tick(now);
    }
    (detector, now)
}

/// Ticks on until the peer is suspected; after how many seconds.
fn until_suspected(detector: &mut FailureDetector, now: &mut Instant) -> u32 {
    for second in 1..100 {
        *now += SECOND;
        detector.on_tick(*now);
        if detector.belief(host(2)) == Belief::Suspected {
            return second;
        }
    }
    panic!("never suspected");
}

#[test]
fn a_silent_peer_is_suspected_probed_twice_and_convicted() {
    let (mut detector, mut now) = watching();
    assert_eq!(detector.due(), []);

    assert_eq!(until_suspected(&mut detector, &mut now), 4);
    assert_eq!(detector.due(), [host(2)]);
    assert_eq!(detector.due(), [], "one probe at a time");
    assert_eq!(detector.on_probe(host(2), false, now), Verdict::Again);
    assert!(!detector.is_convicted(host(2)), "one round of probes may be lost");
    assert_eq!((detector.failed_probes(host(2)), detector.convicted_since(host(2))), (1, None));
    assert_eq!(detector.due(), [host(2)]);
    assert_eq!(detector.on_probe(host(2), false, now), Verdict::Convicted);

    assert!(detector.is_convicted(host(2)));
    assert_eq!((detector.failed_probes(host(2)), detector.convicted_since(host(2))), (2, Some(now)));
    assert_eq!(detector.due(), [], "nobody probes the dead for ever");
}

#[test]
fn probes_begin_before_the_suspicion_and_convict_nobody_without_it() {
    for is_reached in [false, true] {
        let (mut detector, mut now) = watching();
        for second in 1..=3 {
            assert_eq!(detector.due(), [], "{second}");
            now += SECOND;
            detector.on_tick(now);
        }
        // φ is 4.5 after three seconds.
        assert_eq!((detector.belief(host(2)), detector.due()), (Belief::Alive, vec![host(2)]));
        assert_eq!(detector.on_probe(host(2), false, now), Verdict::Again);
        assert_eq!(detector.due(), [host(2)]);
        assert_eq!(detector.on_probe(host(2), is_reached, now), Verdict::Unchanged);
        assert_eq!((detector.belief(host(2)), detector.due()), (Belief::Alive, vec![]), "not again at once");

        now += SECOND;
        detector.on_tick(now);
        if is_reached {
            assert_eq!((detector.belief(host(2)), detector.due()), (Belief::Alive, vec![]));
            continue;
        }
        assert_eq!((detector.belief(host(2)), detector.due()), (Belief::Suspected, vec![host(2)]));
        assert_eq!(detector.on_probe(host(2), false, now), Verdict::Convicted);
        assert_eq!(detector.due(), []);
    }
}

#[test]
fn contact_after_probes_that_failed_ends_the_silence_before_anyone_is_suspected() {
    let (mut detector, mut now) = watching();
    for _ in 0..3 {
        now += SECOND;
        detector.on_tick(now);
    }
    for _ in 0..2 {
        detector.due();
        detector.on_probe(host(2), false, now);
    }
    detector.on_contact(host(2), now);
    now += SECOND;
    detector.on_tick(now);
    assert_eq!((detector.failed_probes(host(2)), detector.due()), (0, vec![]));
    assert_eq!(detector.belief(host(2)), Belief::Alive);
}

#[test]
fn whoever_a_helper_reaches_is_alive() {
    let (mut detector, mut now) = watching();
    for is_late in [false, true] {
        until_suspected(&mut detector, &mut now);
        detector.due();
        if is_late {
            assert_eq!(detector.on_probe(host(2), false, now), Verdict::Again);
            detector.due();
        }
        assert_eq!(detector.on_probe(host(2), true, now), Verdict::Unchanged);
        assert_eq!(detector.belief(host(2)), Belief::Alive);
        assert!(detector.phi(host(2), now).is_some_and(|phi| phi < 1.0), "the silence is over");
    }
    assert_eq!(detector.convictions(), 0);
}

#[test]
fn a_heartbeat_heard_in_the_midst_of_a_probe_ends_the_suspicion() {
    let (mut detector, mut now) = watching();
    until_suspected(&mut detector, &mut now);
    detector.due();
    detector.on_heartbeat(host(2), now);
    assert_eq!(
        detector.on_probe(host(2), false, now),
        Verdict::Unchanged,
        "the probe may have lost a message"
    );
    assert_eq!(detector.belief(host(2)), Belief::Alive);
}

#[test]
fn a_broken_connection_is_reason_enough_to_probe_and_no_more() {
    let (mut detector, now) = watching();
    detector.on_broken(host(2));
    assert_eq!((detector.belief(host(2)), detector.due()), (Belief::Suspected, vec![host(2)]));
    assert_eq!(detector.on_probe(host(2), true, now), Verdict::Unchanged);
    assert_eq!(detector.belief(host(2)), Belief::Alive);
}

#[test]
fn whoever_was_just_heard_of_is_not_convicted_by_what_fails_at_once() {
    let (mut detector, mut now) = watching();
    until_suspected(&mut detector, &mut now);
    for _ in 0..2 {
        detector.due();
        detector.on_probe(host(2), false, now);
    }
    assert_eq!(detector.on_contact(host(2), now), Verdict::Acquitted, "it was started again");

    // Attempts on its address wait until it is tried again, and fail at once until then.
    detector.on_broken(host(2));
    for _ in 0..4 {
        detector.due();
        now += Duration::from_millis(1);
        assert_eq!(detector.on_probe(host(2), false, now), Verdict::Unchanged);
    }
    assert_eq!((detector.failed_probes(host(2)), detector.convictions()), (0, 1));

    now += SECOND;
    detector.on_tick(now);
    assert_eq!(detector.due(), [host(2)], "if it stays silent, it is looked into again");
    assert_eq!(detector.on_probe(host(2), false, now), Verdict::Again);
    assert_eq!(detector.due(), [host(2)]);
    assert_eq!(detector.on_probe(host(2), false, now), Verdict::Convicted);
}

#[test]
fn a_round_of_probes_that_began_before_a_sign_of_life_does_not_count() {
    let signs: [fn(&mut FailureDetector, Instant); 2] = [
        |detector, now| detector.on_heartbeat(host(2), now),
        |detector, now| {
            detector.on_contact(host(2), now);
        },
    ];
    for sign in signs {
        let (mut detector, mut now) = watching();
        until_suspected(&mut detector, &mut now);
        detector.due();
        sign(&mut detector, now);
        // The round lasts longer than an interval.
        detector.on_broken(host(2));
        now += SECOND * 3;
        assert_eq!(detector.on_probe(host(2), false, now), Verdict::Unchanged);
        assert_eq!((detector.failed_probes(host(2)), detector.due()), (0, vec![host(2)]), "another round");
        assert_eq!(detector.on_probe(host(2), false, now), Verdict::Again);
    }
}

#[test]
fn the_dead_are_not_raised_by_hearsay_but_by_contact() {
    let (mut detector, mut now) = watching();
    until_suspected(&mut detector, &mut now);
    for _ in 0..2 {
        detector.due();
        detector.on_probe(host(2), false, now);
    }

    detector.on_heartbeat(host(2), now);
    assert!(detector.is_convicted(host(2)), "an old heartbeat may still be going round");
    assert_eq!(detector.due(), [host(2)], "but it is looked into");
    assert_eq!(detector.on_probe(host(2), false, now), Verdict::Unchanged);
    assert!(detector.is_convicted(host(2)));

    assert_eq!(detector.on_contact(host(2), now), Verdict::Acquitted);
    assert_eq!(detector.belief(host(2)), Belief::Alive);
    assert_eq!((detector.failed_probes(host(2)), detector.convicted_since(host(2))), (0, None));
    assert_eq!(detector.convictions(), 1);
}

#[test]
fn what_a_node_slept_away_itself_is_nobodys_silence() {
    let (mut detector, mut now) = watching();

    now += Duration::from_secs(600);
    detector.on_tick(now);

    assert_eq!(detector.belief(host(2)), Belief::Alive, "all others seemed silent at once");
    assert_eq!(until_suspected(&mut detector, &mut now), 3, "from then on its silence counts");
}

#[test]
fn a_peer_that_comes_and_goes_is_convicted_at_most_once_per_silence() {
    let (mut detector, mut now) = watching();
    for _ in 0..50 {
        // Ten seconds of silence, ten seconds of life.
        for _ in 0..10 {
            now += SECOND;
            detector.on_tick(now);
            while !detector.due().is_empty() {
                detector.on_probe(host(2), false, now);
            }
        }
        for _ in 0..10 {
            now += SECOND;
            detector.on_tick(now);
            detector.on_heartbeat(host(2), now);
            detector.on_contact(host(2), now);
        }
    }
    assert_eq!(detector.convictions(), 50);
}

#[test]
fn a_member_that_was_never_heard_of_is_suspected_as_well() {
    let mut now = Instant::now();
    let mut detector = FailureDetector::new(DetectorSettings::every(SECOND));
    detector.watch([host(2)], now);
    assert!(until_suspected(&mut detector, &mut now) <= 6);
    detector.watch([], now);
    assert_eq!(
        (detector.belief(host(2)), detector.due()),
        (Belief::Alive, vec![]),
        "and forgotten when it leaves"
    );
}
