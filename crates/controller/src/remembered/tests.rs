use super::*;
use crate::home::PairedThing;
use countersign_model::time::Timestamp;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;

fn plug() -> ThingId {
    "plug-000001".parse().unwrap()
}

fn home(folder: &Path) -> Home {
    let home = Home::create(folder, "ada".parse().unwrap()).unwrap();
    let thing = PairedThing {
        thing: plug(),
        address: "127.0.0.1:5541".parse().unwrap(),
        paired_at: Timestamp(0),
        description_sha256: String::new(),
        person: None,
        discovery: None,
    };
    home.remember(&thing, &[home.anchor().clone()]).unwrap();
    home
}

fn names_of(suggestions: &[Suggestion]) -> Vec<&str> {
    suggestions.iter().map(|one| one.name.as_str()).collect()
}

fn description() -> Value {
    json!({
        "properties": {
            "relay": { "title": "Relay", "type": "boolean", "observable": true },
            "power": { "type": "number", "readOnly": true, "observable": true },
            "pin": { "type": "string", "writeOnly": true },
            "step": { "enum": [1, 2, "three"] },
        },
        "actions": { "toggle": {} },
        "events": { "overload": { "title": "Too much" } },
    })
}

#[test]
fn names_fit_what_is_wanted() {
    for (wanted, expected) in [
        (Wanted::Read, &["power", "relay", "step"][..]),
        (Wanted::Write, &["pin", "relay", "step"]),
        (Wanted::Observe, &["power", "relay"]),
        (Wanted::Invoke, &["toggle"]),
        (Wanted::Event, &["overload"]),
    ] {
        assert_eq!(names_of(&suggestions(&description(), wanted)), expected, "{wanted:?}");
    }
    assert_eq!(suggestions(&description(), Wanted::Event)[0].title, "Too much");
    for odd in [json!(null), json!([]), json!({ "properties": 7, "actions": ["x"] })] {
        assert_eq!(suggestions(&odd, Wanted::Invoke), [], "{odd}");
    }
}

//= specs/house.md#house-completion
//= type=test
//# A name that a device gave MUST be suggested to a shell only when it is made of letters, digits, dots, hyphens and
//# underscores.
#[test]
fn what_would_mean_something_to_a_shell_is_passed_over() {
    let names = [
        "$(reboot)",
        "`reboot`",
        "a;reboot",
        "a b",
        "a\nb",
        "a\u{1b}[2J",
        "*",
        "~root",
        "-rf",
        "'",
        "\"",
        "\\",
        "a|b",
        "a&b",
        "a>b",
        "!!",
        "#",
        "{a,b}",
        "",
        "\u{202e}a",
        "..",
        &"x".repeat(65),
    ];
    let actions: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    assert_eq!(suggestions(&json!({ "actions": actions }), Wanted::Invoke), []);
    let steering = "Relay\u{1b}]0;owned\u{7}\n$(reboot) 50%:x\u{202e}";
    let hostile = json!({ "actions": { "toggle": { "title": steering } } });
    let found = suggestions(&hostile, Wanted::Invoke);
    assert_eq!(found[0].title, "Relay0ownedreboot 50x");
    let long = json!({ "actions": { "toggle": { "title": "a".repeat(1000) } } });
    assert_eq!(suggestions(&long, Wanted::Invoke)[0].title.len(), MAX_TITLE);
}

#[test]
fn many_names_are_cut_off() {
    let actions: serde_json::Map<_, _> = (0..1000).map(|n| (format!("a{n}"), json!({}))).collect();
    assert_eq!(suggestions(&json!({ "actions": actions }), Wanted::Invoke).len(), MAX_NAMES);
}

//= specs/house.md#house-completion
//= type=test
//# What a device said of itself MUST be kept as a whole or not at all, bounded in size and for its user alone.
#[test]
fn a_description_is_kept_for_its_user_alone_and_no_large_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let remembered = Remembered::of(folder.path());
    assert!(!home.has_description(&plug()));
    assert_eq!(remembered.affordances(&plug(), Wanted::Read), []);
    home.saw_description(&plug(), &description());
    let path = folder.path().join("things/plug-000001.description");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names_of(&remembered.affordances(&plug(), Wanted::Invoke)), ["toggle"]);
    assert_eq!(remembered.values(&plug(), "relay"), ["true", "false"]);
    assert_eq!(remembered.values(&plug(), "step"), ["1", "2"]);
    assert!(remembered.values(&plug(), "power").is_empty());
    // Too large, and of a device that is not ours.
    home.saw_description(&plug(), &json!({ "title": "x".repeat(MAX_DESCRIPTION) }));
    home.saw_description(&"lamp-1".parse().unwrap(), &description());
    assert_eq!(names_of(&remembered.affordances(&plug(), Wanted::Invoke)), ["toggle"]);
    let left = std::fs::read_dir(folder.path().join("things")).unwrap().count();
    assert_eq!(left, 3, "thing, roots, description");
    // It is no thing, and goes with the thing.
    assert_eq!(remembered.things(), [plug()]);
    assert_eq!(home.things().unwrap().len(), 1);
    home.forget(&plug()).unwrap();
    assert!(!path.exists());
}

#[test]
fn what_is_damaged_large_or_no_file_suggests_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let _home = home(folder.path());
    let remembered = Remembered::of(folder.path());
    let path = folder.path().join("things/plug-000001.description");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, description().to_string()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(remembered.affordances(&plug(), Wanted::Read), [], "a link");
    std::fs::remove_file(&path).unwrap();
    let deep = "[".repeat(100_000);
    let large = format!("{}{}", description(), " ".repeat(MAX_DESCRIPTION));
    for text in ["", "{", "\u{0}", &deep, &large] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(remembered.affordances(&plug(), Wanted::Read), []);
    }
    assert_eq!(Remembered::of(&folder.path().join("nowhere")).things(), []);
    assert_eq!(Remembered::of(&folder.path().join("nowhere")).persons(), []);
}

#[test]
fn people_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let remembered = Remembered::of(folder.path());
    let names = || {
        let people = remembered.people_at(&plug());
        people.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>()
    };
    home.saw_person(&plug(), &"sam".parse().unwrap());
    home.saw_person(&plug(), &"kim".parse().unwrap());
    home.saw_person(&plug(), &"sam".parse().unwrap());
    assert_eq!(names(), ["ada", "kim", "sam"]);
    home.lost_person(&plug(), &"sam".parse().unwrap());
    assert_eq!(names(), ["ada", "kim"]);
    assert_eq!(remembered.persons().len(), 1, "the home's own");
}
