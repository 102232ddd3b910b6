//! The authority's keys in a PKCS#11 token, with real processes: SoftHSM 2.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    Authority, Client, House, Running, VERSIONS, countersign, countersign_fails, need, program,
};

/// The Debian package's places.
const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];

/// A token in `folder`, and the environment variable that shows it to a process.
fn token(folder: &Path) -> (&'static str, PathBuf) {
    let conf = folder.join("softhsm2.conf");
    fs::create_dir(folder.join("tokens")).unwrap();
    let text = format!("directories.tokendir = {}/tokens\nlog.level = ERROR\n", folder.display());
    fs::write(&conf, text).unwrap();
    let mut command = need("softhsm2-util");
    command.args([
        "--init-token",
        "--free",
        "--label",
        "maker",
        "--so-pin",
        "3141",
        "--pin",
        "2718",
    ]);
    Running::start(command.env("SOFTHSM2_CONF", &conf)).finish().with_code(0);
    ("SOFTHSM2_CONF", conf)
}

fn with_environment(mut command: Command, variable: &(&'static str, PathBuf)) -> Command {
    command.env(variable.0, &variable.1);
    command
}

fn configure(house: &House) {
    let module = MODULES.into_iter().find(|path| Path::new(path).exists()).expect("softhsm2");
    let pin = house.folder().join("pin");
    fs::write(&pin, "2718\n").unwrap();
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(house.data()).unwrap();
    let config = format!(
        "[authority.token]\nmodule = {module:?}\nlabel = \"maker\"\npin_file = {pin:?}\nprefix = \"plant-1.\"\n"
    );
    fs::write(house.data().join("config.toml"), config).unwrap();
}

/// Ceremony, server certificate, enrolment by a second process, MQTT under what the token signed, a restart, a kill.
#[test]
fn the_platform_runs_with_every_key_in_a_token() {
    let mut house = House::stopped();
    let variable = token(house.folder());
    configure(&house);
    house.start_as(|command| with_environment(command, &variable));

    let grants =
        ["--grant", "subscribe things/+/properties/#", "--grant", "publish things/+/actions/+"];
    let mut arguments = vec!["--profile", "service", "--name", "backend"];
    arguments.extend(grants);
    let enrol = with_environment(program(house.enrol_command(&arguments)), &variable);
    Running::start(&mut { enrol }).finish().with_code(0);
    let backend = house.identity("backend");
    for version in VERSIONS {
        let client = Client::new(&house, &backend, version);
        client.publish(1, "things/plug-1/actions/toggle", "1").with_code(0);
    }
    let left: Vec<_> =
        fs::read_dir(house.data().join("authority/keys")).into_iter().flatten().collect();
    assert!(left.is_empty(), "no key lies in a file: {left:?}");

    house.kill();
    house.start_as(|command| with_environment(command, &variable));
    let client = Client::new(&house, &backend, VERSIONS[1]);
    client.publish(1, "things/plug-1/actions/toggle", "1").with_code(0);
    house.is_well();
}

/// Devices whose keys are in a token of the line: each under its serial, made once, and in no file.
#[test]
fn a_batch_takes_its_keys_from_the_stations_token() {
    let authority = Authority::new();
    let place = |name: &str| authority.folder().join(name).to_str().unwrap().to_owned();
    let variable = token(authority.folder());
    let module = MODULES.into_iter().find(|path| Path::new(path).exists()).expect("softhsm2");
    fs::write(place("pin"), "2718").unwrap();
    fs::set_permissions(place("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let batch = format!(
        "name = \"t\"\nproduct = \"Hub\"\nstation = \"line-1\"\nout = \"out\"\n[serials]\nlist = [\"hub-1\", \"hub-2\"]\n\
         [keys]\nsource = \"token\"\n[keys.token]\nmodule = {module:?}\nlabel = \"maker\"\npin_file = {:?}\n",
        place("pin")
    );
    fs::write(place("t.toml"), batch).unwrap();
    countersign(authority.command(&["station", "add", "line-1"], &["--quota", "2"])).with_code(0);
    let provision = || {
        let command = authority.command(&["provision"], &["--batch", &place("t.toml")]);
        Running::start(&mut with_environment(program(command), &variable)).finish().with_code(0)
    };
    provision().saying("2  made");
    fs::remove_file(place("out/hub-2.factory")).unwrap();
    provision().saying("1  issued before");
    // Such a file brings no key: a folder that has none does not take it, and does not make one.
    let (device, package, key) =
        (place("device"), place("out/hub-2.factory"), place("out/transport.key"));
    let install =
        ["device", "identity", "--data", &device, "--install", &package, "--transport-key", &key];
    countersign_fails(2, install).saying("brings no key");
    assert!(!Path::new(&device).exists());
}

#[test]
fn a_token_that_is_not_there_is_named_with_the_mend() {
    let house = House::stopped();
    let variable = token(house.folder());
    configure(&house);
    let config = house.data().join("config.toml");
    let right = fs::read_to_string(&config).unwrap();
    for (from, to, words) in [
        ("\"maker\"", "\"other\"", "there: maker"),
        ("libsofthsm2.so", "no-such.so", "no-such.so"),
        ("pin_file", "pin", "pin_file"),
        ("/pin\"", "/nopin\"", "nopin"),
    ] {
        fs::write(&config, right.replace(from, to)).unwrap();
        let mut serve = with_environment(program(house.serve_command()), &variable);
        Running::start(&mut serve).finish().without_panic().with_code(2).saying(words);
    }
}
