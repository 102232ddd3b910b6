//! Other people at a device: invited, joined, unshared, and what the device remembers of it.

use std::fs;
use std::time::Duration;

use countersign_controller::Home as Household;
use countersign_model::label::SetupCode;
use serde_json::Value;

use crate::devices::paired;
use crate::support::{Device, Finished, Home, House, Running, program, until};

/// `control share`, as its JSON.
fn invite(home: &Home, device: &Device, person: &str, role: &str) -> Value {
    let ended = home.with("share", device, &["--person", person, "--role", role, "--json"]);
    serde_json::from_str(&ended.with_code(0).stdout).unwrap()
}

/// `control join` with the text of the QR code.
fn join(house: &House, home: &Home, invitation: &Value) -> Finished {
    let roots = house.roots();
    let text = invitation["invitation"].as_str().unwrap();
    home.control("join", &["--roots", roots.to_str().unwrap(), "--invitation", text])
}

/// Somebody in a home of their own, who has joined.
pub(crate) fn joined(
    house: &House,
    home: &Home,
    device: &Device,
    person: &str,
    role: &str,
) -> Home {
    let theirs = Home::new(house, &format!("home-of-{person}"));
    join(house, &theirs, &invite(home, device, person, role)).with_code(0);
    theirs
}

/// What the device's record says, as `what person` each.
fn history(home: &Home, device: &Device) -> Vec<String> {
    let ended = home.with("history", device, &["--json"]).with_code(0);
    let read: Value = serde_json::from_str(&ended.stdout).unwrap();
    let entries = read["history"]["entries"].as_array().unwrap();
    let words = |entry: &Value| {
        let person = entry["person"].as_str().map(|who| format!(" {who}")).unwrap_or_default();
        format!("{}{person}", entry["what"].as_str().unwrap())
    };
    entries.iter().map(words).collect()
}

//= specs/house.md#house-sharing
//= type=test
//# An invitation MUST work once, within its minutes, for one person and one role.
//= specs/house.md#house-sharing
//= type=test
//# The key of an invited person MUST be made on their side and never leave it.
#[test]
fn a_second_person_joins_by_a_one_time_code_with_a_key_of_their_own() {
    let (house, device, home) = paired();
    let invitation = invite(&home, &device, "sam", "viewer");
    let sam = Home::new(&house, "home-of-sam");
    let ended = join(&house, &sam, &invitation).with_code(0);
    let joined: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&joined["person"], &joined["role"]), (&"sam".into(), &"viewer".into()));
    // Exactly that role.
    sam.with("get", &device, &["power"]).with_code(0);
    sam.with("set", &device, &["relay", "true"]).with_code(1).saying("not permitted");
    sam.with("history", &device, &[]).with_code(1).saying("not permitted");
    // The owner's side has nothing of sam's.
    assert!(!home.folder.join("persons/sam.crt").exists());
    assert!(!home.folder.join("keys/person-sam.key").exists());
    assert!(sam.folder.join("keys/person-sam.key").exists());

    // The code is used up, for whoever saw it too.
    let eve = Home::new(&house, "home-of-eve");
    join(&house, &eve, &invitation).with_code(1).saying("ask for another");
    eve.with("get", &device, &["power"]).with_code(2);

    // Typed, with lower case and a mistake that the check symbols find.
    let invitation = invite(&home, &device, "kim", "member");
    let (roots, serial) = (house.roots(), device.serial.as_str());
    let address = invitation["address"].as_str().unwrap();
    let place = ["--roots", roots.to_str().unwrap(), "--thing", serial, "--device", address];
    let code = invitation["code"].as_str().unwrap().to_lowercase();
    let kim = Home::new(&house, "home-of-kim");
    let typed = |code: &str| kim.control("join", &[&place[..], &["--code", code]].concat());
    typed(&code[1..]).with_code(2).saying("letters and digits");
    let wrong = SetupCode::from_entropy([3; 17]).printed().to_string();
    typed(&wrong).with_code(1).saying("not the invitation's");
    typed(&code).with_code(0);
    kim.with("set", &device, &["relay", "true"]).with_code(0);
    kim.with("set", &device, &["maxPower", "100"]).with_code(1);

    // A name that is taken; nobody in between is let in by name.
    let taken = home.with("share", &device, &["--person", "sam", "--role", "owner"]);
    taken.with_code(1).saying("has a role here already");
    let seen = history(&home, &device);
    let expected = ["paired owner", "invited sam", "joined sam", "invited kim", "joined kim"];
    assert_eq!(seen, expected);
}

//= specs/house.md#house-sharing
//= type=test
//# A guess at an invitation MUST be counted before it is answered, and a few MUST end the invitation.
#[test]
fn guesses_withdrawals_and_restarts_end_an_invitation_for_good() {
    let (house, mut device, home) = paired();
    let stranger = Home::new(&house, "stranger");
    let invitation = invite(&home, &device, "sam", "viewer");
    let mut guess = invitation.clone();
    let text = invitation["invitation"].as_str().unwrap();
    let right = invitation["code"].as_str().unwrap().replace('-', "");
    for number in 0..5 {
        let code = SetupCode::from_entropy([number + 40; 17]).compact();
        guess["invitation"] = text.replace(&right, &code).into();
        join(&house, &stranger, &guess).with_code(1).saying("not the invitation's");
    }
    join(&house, &stranger, &invitation).with_code(1).saying("used, withdrawn or over");

    let invitation = invite(&home, &device, "sam", "viewer");
    home.with("unshare", &device, &["--person", "sam"]).with_code(0);
    join(&house, &stranger, &invitation).with_code(1).saying("used, withdrawn or over");

    let invitation = invite(&home, &device, "sam", "viewer");
    device.kill();
    device.start();
    device.connected();
    join(&house, &stranger, &invitation).with_code(1).saying("used, withdrawn or over");
    let seen = history(&home, &device);
    let ended = seen.iter().filter(|line| *line == "invitation-ended sam").count();
    assert_eq!((seen.len(), ended), (7, 3), "{seen:?}");
    let text = home.with("history", &device, &[]).with_code(0);
    for why in ["too many wrong codes", "withdrawn", "the device was restarted", "0 new since"] {
        assert!(text.stdout.contains(why), "{why}: {text}");
    }
    // An owner makes another one, and it works.
    joined(&house, &home, &device, "sam", "viewer").with("get", &device, &["power"]).with_code(0);
}

//= specs/house.md#house-sharing
//= type=test
//# Unsharing MUST close the person's open connections and streams.
#[test]
fn unsharing_closes_what_is_open_and_needs_a_new_invitation() {
    let (house, device, home) = paired();
    let sam = joined(&house, &home, &device, "sam", "viewer");
    let folder = sam.folder.to_str().unwrap().to_owned();
    let place = ["control", "observe", "--home", &folder, "--thing", &device.serial, "--json"];
    let observing = Running::start(&mut program(place.iter().chain(&["relay"])));
    assert_eq!(observing.lines(0, 1), [r#"{"name":"relay","value":false}"#]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let household = Household::open(&sam.folder).unwrap();
    let (person, thing) = ("sam".parse().unwrap(), device.serial.parse().unwrap());
    let mut session = runtime.block_on(household.session(&person, &thing, None)).unwrap();
    assert!(runtime.block_on(session.get("relay")).is_ok());

    home.with("unshare", &device, &["--person", "sam"]).with_code(0);
    observing.finish().with_code(1);
    // The connection is gone, not only refused.
    until("the connection is closed", || {
        let closed = runtime.block_on(session.request("GET", "/properties/relay", None));
        match closed {
            Ok(reply) => {
                assert_eq!(reply.status, 403, "no value after the end of the role");
                None
            }
            Err(_) => Some(()),
        }
    });
    sam.with("get", &device, &["power"]).with_code(1);
    // A role for the name alone does not bring the old key back.
    home.with("admit", &device, &["--person", "sam", "--role", "viewer"]).with_code(0);
    sam.with("get", &device, &["power"]).with_code(1);
    home.with("unshare", &device, &["--person", "sam"]).with_code(0);
    join(&house, &sam, &invite(&home, &device, "sam", "member")).with_code(0);
    sam.with("invoke", &device, &["toggle"]).with_code(0);
}

//= specs/house.md#house-sharing
//= type=test
//# A change that would leave a device without an owner MUST be refused, whoever asks.
#[test]
fn the_last_owner_stays_whoever_asks() {
    let (house, device, home) = paired();
    let unshare = |home: &Home, who: &str| home.with("unshare", &device, &["--person", who]);
    let demote =
        |home: &Home, who: &str| home.with("role", &device, &["--person", who, "--role", "member"]);
    unshare(&home, "owner").with_code(1).saying("name another owner first");
    demote(&home, "owner").with_code(1).saying("name another owner first");
    let ann = joined(&house, &home, &device, "ann", "owner");
    demote(&ann, "owner").with_code(0);
    home.with("share", &device, &["--role", "viewer"]).with_code(1).saying("not permitted");
    unshare(&ann, "ann").with_code(1).saying("name another owner first");
    demote(&ann, "ann").with_code(1).saying("name another owner first");
    demote(&ann, "nobody").with_code(1).saying("invite them");
    ann.with("set", &device, &["maxPower", "100"]).with_code(0);
}

//= specs/house.md#house-sharing
//= type=test
//# A change of who may what MUST be stored together with its entry in the device's record, or not at all.
#[test]
fn killed_at_any_instant_somebody_has_joined_or_not() {
    let (house, mut device, home) = paired();
    for (number, millis) in [20, 200, 400, 600, 900].into_iter().enumerate() {
        let person = format!("p{number}");
        let invitation = invite(&home, &device, &person, "viewer");
        let theirs = Home::new(&house, &format!("home-of-{person}"));
        let (folder, roots) = (theirs.folder.to_str().unwrap().to_owned(), house.roots());
        let text = invitation["invitation"].as_str().unwrap();
        let place = ["--home", &folder, "--roots", roots.to_str().unwrap(), "--invitation", text];
        let joining = Running::start(&mut program(["control", "join"].iter().chain(&place)));
        let ended = joining.end_within(Duration::from_millis(millis));
        device.kill();
        device.start();
        device.connected();
        let seen = history(&home, &device);
        let has_joined = seen.contains(&format!("joined {person}"));
        let acknowledged = ended.is_some_and(|ended| ended.code == Some(0));
        assert!(has_joined || !acknowledged, "{seen:?}");
        let again = Home::new(&house, &format!("again-{person}"));
        join(&house, &again, &invitation).with_code(1).saying("used, withdrawn or over");
        assert_eq!(has_joined, !seen.contains(&format!("invitation-ended {person}")), "{seen:?}");
        if acknowledged {
            theirs.with("get", &device, &["power"]).with_code(0);
        }
    }
}

//= specs/house.md#house-sharing
//= type=test
//# A changed, removed or moved entry of the record MUST be found by whoever reads it.
#[test]
fn the_record_holds_no_secret_outlives_a_kill_and_does_not_go_back() {
    let (house, mut device, home) = paired();
    let key = "a key of the network 7319";
    let file = house.folder().join("wifi.key");
    fs::write(&file, format!("{key}\n")).unwrap();
    let network = ["--ssid", "Our home", "--network-key-file", file.to_str().unwrap()];
    home.with("admit", &device, &["--person", "max", "--role", "member"]).with_code(0);
    home.with("network", &device, &[&["--as", "max"], &network[..]].concat()).with_code(1);
    home.with("network", &device, &network).with_code(0);
    home.with("role", &device, &["--person", "max", "--role", "viewer"]).with_code(0);
    device.kill();
    device.start();
    device.connected();
    let expected = ["paired owner", "role-given max", "network-replaced", "role-changed max"];
    assert_eq!(history(&home, &device), expected);
    let shown = home.with("history", &device, &[]).with_code(0);
    assert!(!shown.stdout.contains(key) && shown.stdout.contains("by person:owner"), "{shown}");
    // Nobody reads the key, the owner neither.
    home.with("get", &device, &["networkCredentials"]).with_code(1);

    // A record that is not the one that was seen before.
    let seen = home.folder.join(format!("things/{}.history", device.serial));
    let good = fs::read_to_string(&seen).unwrap();
    let head: Value = serde_json::from_str(&good).unwrap();
    let mut other = head.clone();
    other["link"] = "ab".repeat(32).into();
    fs::write(&seen, other.to_string()).unwrap();
    home.with("history", &device, &[]).with_code(1).saying("does not continue what was seen");
    let mut later = head;
    later["number"] = 90.into();
    fs::write(&seen, later.to_string()).unwrap();
    home.with("history", &device, &[]).with_code(1).saying("the end was cut off");
    fs::write(&seen, good).unwrap();
    home.with("history", &device, &[]).with_code(0);

    // After a reset the chain goes on, and nobody's name is left.
    home.with("invoke", &device, &["reset"]).with_code(0);
    device.status_where("it is factory-default", |status| status["pairing"].is_string());
    let next = Home::new(&house, "next");
    let label = device.label.clone();
    next.pair(&house, &mut device, &["--label", &label]).with_code(0);
    let shown = next.with("history", &device, &[]).with_code(0);
    assert!(shown.stdout.contains("    5  ") && shown.stdout.contains("reset"), "{shown}");
    assert!(!shown.stdout.contains("max") && !shown.stdout.contains("person:owner"), "{shown}");
}
