//! Home Assistant's side, with Mosquitto's clients: a device shows up, tells its state, is switched; all under grants.

use std::fs;

use serde_json::Value;

use crate::support::{Authority, Client, Device, Home, House, Running, Version, until};

const SWITCH: &str = "homeassistant/switch/plug-000001/relay/config";
const PRESENCE: &str = "homeassistant/countersign/plug-000001/availability";
const RELAY: &str = "things/plug-000001/properties/relay";

/// What a service with enough grants and nobody else hears.
const GRANTS: [&str; 6] = [
    "subscribe homeassistant/#",
    "publish homeassistant/status",
    "subscribe things/+/properties/#",
    "subscribe things/+/events/#",
    "publish things/+/properties/+/set",
    "publish things/+/actions/+",
];

fn house_with(setting: &str) -> House {
    let authority = Authority::new();
    fs::write(authority.data().join("config.toml"), setting).unwrap();
    House::on(authority)
}

fn paired(house: &House) -> Device {
    let mut device = Device::provision(house, "plug-000001");
    device.start();
    let label = device.label.clone();
    Home::new(house, "home").pair(house, &mut device, &["--label", &label]).with_code(0);
    device.connected();
    device
}

/// What is retained on a topic, as soon as there is something.
fn retained(client: &Client, topic: &str) -> String {
    until(topic, || {
        let mut command = client.subscribe_command(1, topic);
        let running = Running::start(command.args(["-C", "1", "-W", "2"]));
        let said = running.finish().stdout;
        let ours = |line: &str| Some(line.strip_prefix(topic)?.strip_prefix(' ')?.to_owned());
        said.lines().find_map(ours)
    })
}

#[test]
fn a_device_shows_up_tells_its_state_and_is_switched() {
    let house = house_with("[gateway.home_assistant]\nenabled = true\n");
    let assistant = house.service("home-assistant", &GRANTS);
    let viewer = house.service("dashboard", &["subscribe homeassistant/#", GRANTS[2]]);
    let stranger = house.service("stranger", &["subscribe things/+/events/#"]);
    let mut device = paired(&house);
    let assistant = Client::new(&house, &assistant, Version::V311);

    // It is there, with the topics to use.
    let config: Value = serde_json::from_str(&retained(&assistant, SWITCH)).unwrap();
    assert_eq!(config["state_topic"], RELAY);
    let command = config["command_topic"].as_str().unwrap();
    let (on, off) =
        (config["payload_on"].as_str().unwrap(), config["payload_off"].as_str().unwrap());
    assert_eq!(config["availability_topic"], PRESENCE);
    assert_eq!(retained(&assistant, PRESENCE), "online");

    // Its state comes, and it is switched with the payloads that were announced.
    assert_eq!(retained(&assistant, RELAY), off);
    let states = assistant.subscribe(1, RELAY);
    assistant.publish(1, command, on);
    states.receives(RELAY, on);
    let button = "homeassistant/button/plug-000001/toggle/config";
    let press: Value = serde_json::from_str(&retained(&assistant, button)).unwrap();
    assistant.publish(1, press["command_topic"].as_str().unwrap(), "");
    until("the button has toggled it", || {
        let said = states.0.stdout();
        let (_, since) = said.rsplit_once(&format!("{RELAY} {on}\n"))?;
        since.contains(&format!("{RELAY} {off}\n")).then_some(())
    });

    // Whoever was not granted the topics neither sees it nor switches it.
    let stranger = Client::new(&house, &stranger, Version::V5);
    for filter in ["homeassistant/#", SWITCH, "homeassistant/+/+/config"] {
        let ended = Running::start(&mut stranger.subscribe_command(1, filter)).finish();
        ended.saying("All subscription requests were denied");
    }
    let dashboard = Client::new(&house, &viewer, Version::V5);
    assert!(retained(&dashboard, SWITCH).contains("command_topic"));
    dashboard.try_publish(1, command, on).expect("it ends").saying("Not authorized");
    // Owners' business is not announced as something to set.
    let all = assistant.subscribe(1, "homeassistant/#");
    all.0.wait_for(&format!("{SWITCH} {{"));
    // What is retained comes before what is published now.
    assistant.publish(1, "homeassistant/status", "online");
    all.receives("homeassistant/status", "online");
    all.never_heard("maxPower/set");
    all.never_heard("resetEnergy");

    // When it goes, that is told.
    device.kill();
    until("it is offline", || (retained(&assistant, PRESENCE) == "offline").then_some(()));
}

#[test]
fn nothing_is_told_unless_it_is_switched_on() {
    let house = House::new();
    let service = house.service("home-assistant", &["subscribe #"]);
    let client = Client::new(&house, &service, Version::V5);
    let everything = client.subscribe(1, "#");
    let _device = paired(&house);
    everything.0.wait_for("things/plug-000001/description {");
    everything.receives(RELAY, "false");
    everything.never_heard("homeassistant/");
}
