#[path = "../tests/simulation/campaign/mod.rs"]
mod campaign;
use campaign::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let from: u64 = a[1].parse().unwrap();
    let to: u64 = a[2].parse().unwrap();
    let b = Bounds { minutes: 4.0, nodes: None };
    let t = std::time::Instant::now();
    if a.get(3).is_some_and(|x| x == "v") {
        let p = Plan::draw(from, b);
        let r = run(&p, true);
        println!("{}", describe(&p, &r));
        return;
    }
    if a.get(3).is_some_and(|x| x == "x") {
        println!("{}", explain(from, b));
        return;
    }
    let s = campaign(from..=to, b, 2, |s, seed, r| {
        eprintln!(
            "{} {seed} trace {:x} events {} ops {} sim {:?} {:?} {:?}",
            s.seeds,
            r.trace,
            r.events,
            r.operations,
            r.simulated,
            r.verdict(),
            t.elapsed()
        );
    });
    println!("{s:#?} {:?}", t.elapsed());
}
