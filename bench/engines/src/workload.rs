//! What every engine is asked: keys, values and the order of keys.

/// The prefix that all keys share.
const PREFIX: [u8; 8] = *b"userdata";

/// The key of a number: a permutation of the numbers, so that ascending ones come in random order.
pub fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&PREFIX);
    key[8..].copy_from_slice(&mixed(number).to_be_bytes());
    key
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, figure 5).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Values that say which key they belong to, half of their bytes zero.
#[derive(Debug, Clone)]
pub struct Values {
    bytes: usize,
}

impl Values {
    /// Values of that many bytes, at least eight.
    pub fn of(bytes: usize) -> Self {
        Self { bytes: bytes.max(8) }
    }

    /// Bytes of one key and its value.
    pub fn entry_bytes(&self) -> usize {
        16 + self.bytes
    }

    /// Writes the value of a key.
    pub fn write(&self, number: u64, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(&number.to_le_bytes());
        let mut noise = number;
        while value.len() < self.bytes {
            noise = mixed(noise);
            let half = (self.bytes - value.len()).min(8);
            value.extend_from_slice(&noise.to_le_bytes()[..half]);
            let zeros = (self.bytes - value.len()).min(8);
            value.resize(value.len() + zeros, 0);
        }
    }

    /// Whether it is a value of this key: length, the number, and the last bytes.
    pub fn is_of(&self, number: u64, value: &[u8]) -> bool {
        value.len() == self.bytes && value[..8] == number.to_le_bytes()
    }
}

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mixed(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Which of `count` keys come next.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Each as often as any other.
    Uniform { count: u64 },
    /// Few of them most of the time (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD
    /// 1994), spread over the key space.
    Zipfian { count: u64, theta: f64, zeta: f64, eta: f64 },
}

impl Choice {
    /// YCSB's constant.
    pub fn zipfian(count: u64) -> Self {
        let theta = 0.99;
        let zeta_of = |n: u64| (1..=n).map(|i| 1.0 / (i as f64).powf(theta)).sum::<f64>();
        let zeta = zeta_of(count);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta_of(2) / zeta);
        Self::Zipfian { count, theta, zeta, eta }
    }

    pub fn next(&self, random: &mut Random) -> u64 {
        match *self {
            Self::Uniform { count } => random.next() % count,
            Self::Zipfian { count, theta, zeta, eta } => {
                let u = random.unit();
                let uz = u * zeta;
                let rank = if uz < 1.0 {
                    0
                } else if uz < 1.0 + 0.5f64.powf(theta) {
                    1
                } else {
                    (count as f64 * (eta * u - eta + 1.0).powf(1.0 / (1.0 - theta))) as u64
                };
                mixed(rank.min(count - 1)) % count
            }
        }
    }
}
