use super::*;
use std::fmt::Write;

const NOW: Timestamp = Timestamp(1_000);

fn head(version: u64, expires: u64) -> PolicyHead {
    PolicyHead { version, expires: Timestamp(expires) }
}

fn word(slots: PolicySlots) -> String {
    match slots {
        PolicySlots::Steady { active } => format!("Steady({})", active.version),
        PolicySlots::Trial { active, candidate } => {
            format!("Trial({}, {})", active.version, candidate.version)
        }
        PolicySlots::Probation { active, previous } => {
            format!("Probation({}, keeps {})", active.version, previous.version)
        }
    }
}

//= specs/house.md#house-policy
//= type=test
//# A policy MUST be refused when its version does not grow.
#[test]
fn every_transition() {
    let (old, new, expired) = (head(3, 2_000), head(4, 3_000), head(3, 999));
    let mut table = String::new();
    for slots in [
        PolicySlots::Steady { active: old },
        PolicySlots::Trial { active: old, candidate: new },
        PolicySlots::Probation { active: new, previous: old },
        PolicySlots::Probation { active: new, previous: expired },
    ] {
        writeln!(
            table,
            "{}{}",
            word(slots),
            if slots == (PolicySlots::Probation { active: new, previous: expired }) {
                ", which has expired"
            } else {
                ""
            }
        )
        .unwrap();
        for (name, candidate) in [
            ("offer 5", head(5, 5_000)),
            ("offer 4", head(4, 5_000)),
            ("offer 3", head(3, 5_000)),
            ("offer 1", head(1, 5_000)),
            ("offer 5, expired", head(5, 999)),
        ] {
            let after = match slots.offer(candidate, 2, NOW) {
                Ok(after) => word(after),
                Err(refused) => format!("refused: {refused}"),
            };
            writeln!(table, "    {name:<28} {after}").unwrap();
        }
        for (name, after) in [
            ("handshake succeeded", slots.tried(true)),
            ("handshake failed", slots.tried(false)),
            ("session carried", slots.carried()),
            ("sessions fail", slots.failing(false, NOW)),
            ("sessions fail, old withdrawn", slots.failing(true, NOW)),
        ] {
            writeln!(table, "    {name:<28} {}", word(after)).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_compiled_policy_can_be_offered() {
    let built_in = PolicyHead::of(&CompiledPolicy::built_in());
    let slots = PolicySlots::Steady { active: built_in };
    let again = slots.offer(built_in, 0, NOW);
    assert!(matches!(again, Err(OfferRefused::NotNewer { .. })));
}
