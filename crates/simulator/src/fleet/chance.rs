//! Which step comes next: drawn for the big world, generated and shrunk for small ones.

use super::node::Crash;
use super::press::{Bad, Kind};
use super::step::Step;
use crate::random::Seeded;
use countersign_crypto::random::Random as _;
use proptest::prelude::*;

impl Step {
    /// A step for a fleet of so many devices: mostly ordinary life, and something of everything else.
    pub fn draw(random: &mut Seeded, devices: usize) -> Self {
        let mut below = |bound: usize| {
            let mut word = [0; 8];
            random.fill(&mut word);
            usize::try_from(u64::from_le_bytes(word) % bound as u64).unwrap()
        };
        let device = below(devices);
        let hours = i16::try_from(below(4800)).unwrap() - 2400;
        let crash = match below(40) {
            0 => Crash::BeforeDocument,
            1 => Crash::BeforeSlots,
            2 => Crash::BeforeActing,
            _ => Crash::Never,
        };
        match below(1000) {
            0..=5 => Self::Publish {
                kind: Kind::ALL[below(Kind::ALL.len())],
                days: u16::try_from(30 + below(1500)).unwrap(),
                withdraw: below(3) == 0,
            },
            6..=25 => Self::Gate(crash),
            26 => Self::GateRestarts,
            27 => Self::GateRotates,
            28 => Self::GateClock { hours: if below(2) == 0 { 0 } else { hours } },
            29..=34 => Self::GateGetsBad(Bad::ALL[below(Bad::ALL.len())]),
            35..=60 => Self::GetsBad(device, Bad::ALL[below(Bad::ALL.len())]),
            61..=80 => Self::Restarts(device),
            81..=100 => Self::Link(device, below(3) != 0),
            101..=120 => Self::Sleeps(device, below(3) == 0),
            121..=140 => Self::Clock { device, hours: if below(2) == 0 { 0 } else { hours } },
            141..=160 => Self::Rotates(device),
            161..=220 => Self::Speaks(device),
            221..=235 => {
                let longest = if below(5) == 0 { 20_000 } else { 30 };
                Self::Passes { minutes: u16::try_from(below(longest)).unwrap() }
            }
            _ => {
                let gate = if below(200) == 0 { Crash::BeforeActing } else { Crash::Never };
                Self::Device { device, crash, gate }
            }
        }
    }

    /// Any step at all, for worlds in which each counts.
    pub fn any() -> impl Strategy<Value = Self> {
        let kind = prop::sample::select(Kind::ALL.to_vec());
        let bad = || prop::sample::select(Bad::ALL.to_vec());
        let crash = || {
            prop_oneof![
                6 => Just(Crash::Never),
                1 => Just(Crash::BeforeDocument),
                1 => Just(Crash::BeforeSlots),
                1 => Just(Crash::BeforeActing),
            ]
        };
        let device = 0..3_usize;
        let hours = || prop_oneof![Just(0), -2400..2400_i16];
        let publish = (kind, 20..1500_u16, any::<bool>());
        prop_oneof![
            4 => publish.prop_map(|(kind, days, withdraw)| Self::Publish { kind, days, withdraw }),
            12 => crash().prop_map(Self::Gate),
            1 => Just(Self::GateRestarts),
            1 => Just(Self::GateRotates),
            1 => hours().prop_map(|hours| Self::GateClock { hours }),
            1 => bad().prop_map(Self::GateGetsBad),
            24 => (device.clone(), crash(), crash())
                .prop_map(|(device, crash, gate)| Self::Device { device, crash, gate }),
            2 => device.clone().prop_map(Self::Restarts),
            2 => (device.clone(), bad()).prop_map(|(device, bad)| Self::GetsBad(device, bad)),
            2 => (device.clone(), any::<bool>()).prop_map(|(device, on)| Self::Link(device, on)),
            2 => (device.clone(), any::<bool>()).prop_map(|(device, on)| Self::Sleeps(device, on)),
            1 => (device.clone(), hours()).prop_map(|(device, hours)| Self::Clock { device, hours }),
            2 => device.clone().prop_map(Self::Rotates),
            3 => device.prop_map(Self::Speaks),
            4 => (0..20_000_u16).prop_map(|minutes| Self::Passes { minutes }),
        ]
    }
}
