//! Whether the time of a refusal tells its reason: names that nobody knows, names that are forbidden, the wrong state.
//!
//! `refusals HOME THING [SECONDS]`: a home of `countersign control` and a paired device of it, with the example's description of a
//! plug. Twelve persons are made viewers of it. They ask over connections that stay open, in an order that is drawn, and as
//! often as the device lets them be refused.
//!
//! Two kinds are compared by Welch's t over what lies below the 95th percentile of both (Reparaz, Balasch and Verbauwhede,
//! *Dude, is my code constant time?*, 2017): beyond 4.5 they differ, and whoever measures can tell them apart. The control
//! compares two names that nobody knows.

use std::time::{Duration, Instant};

use countersign_controller::{Home, Session};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{Operation, ThingDescription};
use countersign_model::time::Timestamp;
use countersign_protocol::permit::device::{Request, Subject, judge};

type Failed = Box<dyn std::error::Error>;

const PERSONS: usize = 12;
/// Between two requests: a person may be refused four times a second for long, and in the beginning more often.
const PAUSE: Duration = Duration::from_millis(17);
/// Calls of the judgement that are timed as one, and how many such.
const CALLS: u32 = 200;
const BATCHES: usize = 20_000;
/// Of both kinds: what is slower was disturbed.
const KEPT_PERCENT: usize = 95;
/// Beyond it, two kinds differ.
const THRESHOLD: f64 = 4.5;

/// What is asked over the wire, by a viewer: all of it is refused.
const ASKED: [(&str, &str, &str, Option<&[u8]>); 5] = [
    ("read, unknown", "GET", "/properties/minPower", None),
    ("read, unknown too", "GET", "/properties/midPower", None),
    ("read, forbidden", "GET", "/properties/maxPower", None),
    ("write, unknown", "PUT", "/properties/minPower", Some(b"5")),
    ("write, forbidden", "PUT", "/properties/maxPower", Some(b"5")),
];
/// Which of them must not differ.
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (3, 4)];

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, thing, rest @ ..] = arguments.as_slice() else {
        return Err("usage: refusals HOME THING [SECONDS]".into());
    };
    let seconds = rest.first().map_or(Ok(60), |text| text.parse())?;
    let (home, thing): (_, ThingId) = (Home::open(home.as_ref())?, thing.parse()?);
    let mut sessions = viewers(&home, &thing).await?;

    let mut times = vec![Vec::new(); ASKED.len()];
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut answer = None;
    for turn in 0.. {
        if Instant::now() >= end {
            break;
        }
        let kind = drawn(ASKED.len());
        let (_, method, path, body) = ASKED[kind];
        let begun = Instant::now();
        let reply = sessions[turn % PERSONS].request(method, path, body).await?;
        let took = begun.elapsed();
        let told = (reply.status, reply.body);
        if answer.get_or_insert_with(|| told.clone()) != &told {
            return Err(format!("{method} {path} was answered {told:?}, others {answer:?}").into());
        }
        times[kind].push(took.as_secs_f64() * 1e6);
        tokio::time::sleep(PAUSE).await;
    }
    println!("over HTTPS, one answer for all: {}", answer.map_or(0, |(status, _)| status));
    let names: Vec<&str> = ASKED.iter().map(|(name, ..)| *name).collect();
    report(&names, &times, &PAIRS, "us");

    println!("\nthe judgement alone");
    let (names, times) = judgements()?;
    report(&names, &times, &[(0, 1), (0, 2), (0, 3)], "ns");
    Ok(())
}

async fn viewers(home: &Home, thing: &ThingId) -> Result<Vec<Session>, Failed> {
    let mut owner = home.session(home.owner(), thing, None).await?;
    let mut sessions = Vec::new();
    for number in 0..PERSONS {
        let person: PersonName = format!("watcher-{number:02}").parse()?;
        home.issue_person(person.clone())?;
        owner.share(&person, Role::Viewer).await?;
        let mut session = home.session(&person, thing, None).await?;
        session.get("relay").await?;
        sessions.push(session);
    }
    Ok(sessions)
}

/// Names of kinds, and nanoseconds of each batch.
fn judgements() -> Result<(Vec<&'static str>, Vec<Vec<f64>>), Failed> {
    let plug = include_bytes!("../../../crates/device/things/plug.td.json");
    let plug = ThingDescription::parse(plug).map_err(|errors| format!("{errors:?}"))?;
    let now = Timestamp::from_secs(1_790_000_000);
    let who = |role| Subject::Person { name: "sam".parse().expect("a name"), role, until: now };
    let read = |name| Request::new(Operation::ReadProperty, name, b"");
    let (up, busy) = (DeviceState::Initialised, DeviceState::Updating);
    let kinds = [
        ("unknown", up, who(Role::Viewer), read("minPower")?),
        ("unknown too", up, who(Role::Viewer), read("midPower")?),
        ("forbidden", up, who(Role::Viewer), read("maxPower")?),
        (
            "wrong state",
            busy,
            who(Role::Owner),
            Request::new(Operation::WriteProperty, "maxPower", b"5")?,
        ),
    ];
    let mut times = vec![Vec::with_capacity(BATCHES); kinds.len()];
    for _ in 0..BATCHES * kinds.len() {
        let kind = drawn(kinds.len());
        let (_, state, subject, request) = &kinds[kind];
        let begun = Instant::now();
        for _ in 0..CALLS {
            let judged = std::hint::black_box(judge(*state, subject, &plug, request, now));
            if judged.is_ok() {
                return Err("what must be refused was not".into());
            }
        }
        times[kind].push(begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    Ok((kinds.iter().map(|(name, ..)| *name).collect(), times))
}

fn drawn(below: usize) -> usize {
    let mut byte = [0];
    loop {
        SystemRandom.fill(&mut byte);
        let one = usize::from(byte[0]);
        if one < 256 / below * below {
            return one % below;
        }
    }
}

fn report(names: &[&str], times: &[Vec<f64>], pairs: &[(usize, usize)], unit: &str) {
    println!("{:<20} {:>8} {:>12} {:>12}", "", "count", "median", "p95");
    for (name, times) in names.iter().zip(times) {
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |percent| sorted.get(sorted.len() * percent / 100).copied().unwrap_or(f64::NAN);
        println!("{name:<20} {:>8} {:>9.1} {unit} {:>9.1} {unit}", times.len(), at(50), at(95));
    }
    for &(one, other) in pairs {
        let (t, difference) = compared(&times[one], &times[other]);
        let verdict = if t.abs() < THRESHOLD { "the same" } else { "DIFFERENT" };
        println!(
            "{} against {}: t = {t:.2}, means differ by {difference:.2} {unit}: {verdict}",
            names[other], names[one]
        );
    }
}

/// Welch's t, and by how much the means differ.
fn compared(one: &[f64], other: &[f64]) -> (f64, f64) {
    let mut all = [one, other].concat();
    all.sort_by(f64::total_cmp);
    let limit = all.get(all.len() * KEPT_PERCENT / 100).copied().unwrap_or(f64::INFINITY);
    let moments = |times: &[f64]| {
        let kept: Vec<f64> = times.iter().copied().filter(|time| *time <= limit).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let spread = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, spread / count)
    };
    let ((mean, error), (other_mean, other_error)) = (moments(one), moments(other));
    let difference = other_mean - mean;
    (difference / (error + other_error).sqrt(), difference)
}
