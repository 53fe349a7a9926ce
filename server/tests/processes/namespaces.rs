//! Two network namespaces with a cable between them that can be pulled, made by iproute2.

use std::{
    fs::File,
    os::fd::AsFd,
    process::{Command, Output},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Two namespaces, one a datacenter; node i lives in the first if i is odd.
pub struct Namespaces {
    /// Of this test: others may have namespaces too.
    tag: String,
}

impl Namespaces {
    /// Makes them; or says why that is not possible here.
    pub fn create() -> Result<Self, String> {
        let this = Self { tag: format!("hx{}", std::process::id()) };
        let [a, b] = [this.name(1), this.name(2)];
        try_ip(&["netns", "add", &a])?;
        try_ip(&["netns", "add", &b])?;
        try_ip(&["link", "add", &a, "netns", &a, "type", "veth", "peer", "name", &b, "netns", &b])?;
        for name in [&a, &b] {
            try_ip(&["-n", name, "link", "set", "lo", "up"])?;
            try_ip(&["-n", name, "link", "set", name, "up"])?;
        }
        Ok(this)
    }

    /// The namespace of a node, and the name of its end of the cable.
    fn name(&self, number: usize) -> String {
        format!("{}{}", self.tag, if number % 2 == 1 { "a" } else { "b" })
    }

    /// Gives a node its address.
    pub fn add_host(&self, number: usize) -> String {
        let (datacenter, rack) = (2 - number % 2, number.div_ceil(2));
        let (name, address) = (self.name(number), format!("10.{datacenter}.{rack}.{number}"));
        ip(&["-n", &name, "addr", "add", &format!("{address}/8"), "dev", &name]);
        address
    }

    /// A program in the namespace of a node.
    pub fn command(&self, number: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(number), program]);
        command
    }

    /// Does something in the namespace of a node, on a thread of its own: a thread that has moved does not come back.
    pub fn inside<T: Send>(&self, number: usize, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(number))).expect("it was made");
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("who may make namespaces may enter them");
                work()
            });
            worker.join().expect("the work does not panic")
        })
    }

    /// Pulls the cable: what was sent is lost, and nobody is told.
    pub fn cut(&self) {
        ip(&["-n", &self.name(1), "link", "set", &self.name(1), "down"]);
    }

    /// Puts it back.
    pub fn heal(&self) {
        ip(&["-n", &self.name(1), "link", "set", &self.name(1), "up"]);
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for number in [1, 2] {
            // The cable goes with them; what was not made cannot be removed.
            let _: Result<(), String> = try_ip(&["netns", "del", &self.name(number)]);
        }
    }
}

fn ip(arguments: &[&str]) {
    try_ip(arguments).expect("it was permitted before");
}

fn try_ip(arguments: &[&str]) -> Result<(), String> {
    let outcome = Command::new("ip").args(arguments).output();
    let Output { status, stderr, .. } = outcome.map_err(|error| format!("no iproute2: {error}"))?;
    let why = String::from_utf8_lossy(&stderr);
    if status.success() { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), why.trim())) }
}
