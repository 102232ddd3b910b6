use super::*;
use countersign_crypto::pake::{PakeParams, VerifierRecord, derive};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::Secret;
use countersign_model::label::SetupCode;
use countersign_model::time::Timestamp;
use proptest::prelude::*;
use std::sync::OnceLock;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn code(n: u8) -> SetupCode {
    SetupCode::from_entropy([n; 17])
}

fn params() -> PakeParams {
    PakeParams::new([5; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap()
}

/// The record of `code(1)`: derived once, since that takes a moment.
fn record() -> VerifierRecord {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let secret = derive(&code(1), &"plug-1".parse().unwrap(), &params()).unwrap();
        secret.record().to_secret().expose(<[u8]>::to_vec)
    });
    VerifierRecord::from_bytes(bytes).unwrap()
}

fn binding(exporter: u8) -> Binding {
    Binding {
        exporter: [exporter; 32],
        device: "plug-1".parse().unwrap(),
        device_certificate: [2; 32],
        strength: Strength(128),
    }
}

fn device(attempts: Attempts) -> PairingDevice {
    PairingDevice::new(record(), params(), binding(1), attempts, NOW)
}

fn installation() -> Installation {
    Installation {
        anchor: vec![0x30; 500],
        owner: "ada".parse().unwrap(),
        network: Some(NetworkCredentials {
            ssid: "home".to_owned(),
            key: Secret::new(b"correct horse battery staple".to_vec(), Strength(128)),
        }),
        gateway: Some(GatewayAddress {
            mqtt: "gw.example:8883".to_owned(),
            est: "gw.example:8443".to_owned(),
            server_name: "gw.example".to_owned(),
        }),
        now: NOW,
    }
}

fn report() -> Installed {
    Installed { thing: "plug-1".parse().unwrap(), local_port: 8443, td_sha256: [9; 32] }
}

/// Everything that happened, in order, in words.
#[derive(Default)]
struct Log(Vec<String>);

/// What the shell does with `bytes` where nobody else is trying.
fn feed(device: &mut PairingDevice, bytes: &[u8]) -> Vec<DeviceOutput> {
    let mut outputs = device.receive(bytes, NOW);
    if matches!(outputs.last(), Some(DeviceOutput::Claim)) {
        outputs.pop();
        outputs.extend(device.claimed(device.attempts(), NOW, &mut SystemRandom));
    }
    outputs
}

/// Carries bytes to and fro until both are silent; the device's shell stores what it is told to.
fn converse(
    controller: &mut PairingController,
    hello: &[u8],
    device: &mut PairingDevice,
    log: &mut Log,
) -> Option<Box<Installation>> {
    let mut random = SystemRandom;
    let mut stored = None;
    let mut to_device = vec![hello.to_vec()];
    while !to_device.is_empty() {
        let mut outputs: Vec<DeviceOutput> =
            to_device.drain(..).flat_map(|bytes| feed(device, &bytes)).collect();
        let mut to_controller = Vec::new();
        while !outputs.is_empty() {
            match outputs.remove(0) {
                DeviceOutput::Claim => panic!("claimed already"),
                DeviceOutput::Persist(attempts) => {
                    log.0.push(format!("store {}", attempts.failed()))
                }
                DeviceOutput::Send(bytes) => {
                    log.0.push("answer".to_owned());
                    to_controller.extend_from_slice(&bytes);
                }
                DeviceOutput::Install(installation) => {
                    log.0.push("install".to_owned());
                    stored = Some(installation);
                    outputs.extend(device.installed(report()));
                }
                DeviceOutput::Close(reason) => log.0.push(format!("close {reason:?}")),
            }
        }
        for output in controller.receive(&to_controller, &mut random) {
            match output {
                ControllerOutput::Send(bytes) => to_device.push(bytes.to_vec()),
                ControllerOutput::Paired(done) => log.0.push(format!("paired {}", done.local_port)),
                ControllerOutput::Failed(failure) => log.0.push(format!("failed {failure:?}")),
            }
        }
    }
    stored
}

fn attempt(
    with: SetupCode,
    from: Binding,
    device: &mut PairingDevice,
) -> (Log, Option<Box<Installation>>) {
    let mut log = Log::default();
    let (mut controller, hello) = PairingController::start(with, from, &installation()).unwrap();
    let stored = converse(&mut controller, &hello, device, &mut log);
    (log, stored)
}

//= specs/house.md#house-pairing
//= type=test
//# The device MUST confirm first, so that a wrong guess costs an attempt.
#[test]
fn the_right_code_pairs_in_this_order() {
    let (log, stored) = attempt(code(1), binding(1), &mut device(Attempts::default()));
    assert_eq!(
        log.0,
        [
            "answer",
            "store 1",
            "answer",
            "store 0",
            "install",
            "answer",
            "close Done",
            "paired 8443"
        ]
    );
    let stored = stored.unwrap();
    let sent = installation();
    assert_eq!(
        (stored.anchor, stored.owner, stored.gateway),
        (sent.anchor, sent.owner, sent.gateway)
    );
    let network = stored.network.unwrap();
    assert_eq!(network.ssid, "home");
    assert!(network.key.expose(|key| key == b"correct horse battery staple"));
    assert_eq!(network.key.strength(), Strength(128));
}

//= specs/house.md#house-pairing
//= type=test
//# The setup code MUST be proven by SPAKE2+ bound to the TLS channel by its exporter.
#[test]
fn a_wrong_code_or_another_channel_costs_one_attempt_and_installs_nothing() {
    for (with, from) in [(code(2), binding(1)), (code(1), binding(3))] {
        let mut device = device(Attempts::default());
        let (log, stored) = attempt(with, from, &mut device);
        assert_eq!(log.0, ["answer", "store 1", "answer", "failed WrongCode"]);
        assert!(stored.is_none());
        assert_eq!(device.attempts().failed(), 1);
    }
}

#[test]
fn a_device_that_has_had_enough_hears_nobody() {
    let tried = |n: u32| (0..n).fold(Attempts::default(), |attempts, _| attempts.charged(NOW));
    let (log, _) = attempt(code(1), binding(1), &mut device(tried(4)));
    assert_eq!(log.0[1], "close Locked");
    assert!(log.0[2].contains("wait: Some(4s)"), "{:?}", log.0);
    let (log, _) = attempt(code(1), binding(1), &mut device(tried(MAX_ATTEMPTS)));
    assert!(log.0[2].contains("wait: None"), "{:?}", log.0);
    // The right code after two wrong ones is heard at once, and forgives them.
    let mut device = device(tried(1));
    assert!(attempt(code(1), binding(1), &mut device).1.is_some());
    assert_eq!(device.attempts(), Attempts::default());
}

#[test]
fn a_weak_channel_or_an_impossible_field_stops_before_anything_is_sent() {
    let weak = Binding { strength: Strength(112), ..binding(1) };
    let refused = PairingController::start(code(1), weak, &installation()).unwrap_err();
    assert!(matches!(refused, InvalidInstallation::Channel(_)));
    let long = Installation { anchor: vec![0; 5000], ..installation() };
    let refused = PairingController::start(code(1), binding(1), &long).unwrap_err();
    assert_eq!(refused, InvalidInstallation::Field("home's anchor"));
    // What holds no secret may go through any channel that TLS gave us.
    let weak = Binding { strength: Strength(112), ..binding(1) };
    let open = Installation { network: None, ..installation() };
    assert!(PairingController::start(code(1), weak, &open).is_ok());
}

/// The frames of a good conversation from the controller, for tests that disturb it.
fn frames_of_the_controller(device: &mut PairingDevice) -> Vec<Vec<u8>> {
    let mut random = SystemRandom;
    let (mut controller, hello) =
        PairingController::start(code(1), binding(1), &installation()).unwrap();
    let mut frames = vec![hello.to_vec()];
    let mut at = 0;
    while at < frames.len() {
        let answers = feed(device, &frames[at].clone());
        at += 1;
        for answer in answers {
            if let DeviceOutput::Send(bytes) = answer {
                for output in controller.receive(&bytes, &mut random) {
                    if let ControllerOutput::Send(bytes) = output {
                        frames.push(bytes.to_vec());
                    }
                }
            }
        }
    }
    frames
}

fn closes(outputs: &[DeviceOutput]) -> Option<CloseReason> {
    outputs.iter().find_map(|output| match output {
        DeviceOutput::Close(reason) => Some(*reason),
        _ => None,
    })
}

#[test]
fn out_of_order_repeated_or_promised_differently_closes() {
    let mut random = SystemRandom;
    let frames = frames_of_the_controller(&mut device(Attempts::default()));
    assert_eq!(frames.len(), 4, "Hello, ShareP, ConfirmP, Install");
    for wrong in [&frames[1], &frames[2], &frames[3]] {
        let outputs = feed(&mut device(Attempts::default()), wrong);
        assert_eq!(closes(&outputs), Some(CloseReason::Protocol));
    }
    let mut repeated = device(Attempts::default());
    feed(&mut repeated, &frames[0]);
    assert_eq!(closes(&feed(&mut repeated, &frames[0])), Some(CloseReason::Protocol));
    assert!(feed(&mut repeated, &frames[1]).is_empty(), "closed is closed");

    // Another anchor than Hello promised, after a good proof.
    let mut device = device(Attempts::default());
    let (mut controller, hello) =
        PairingController::start(code(1), binding(1), &installation()).unwrap();
    let mut bytes = hello.to_vec();
    for _ in 0..2 {
        let mut answers = Vec::new();
        for output in feed(&mut device, &bytes) {
            if let DeviceOutput::Send(answer) = output {
                answers.extend_from_slice(&answer);
            }
        }
        bytes = controller
            .receive(&answers, &mut random)
            .into_iter()
            .find_map(|output| match output {
                ControllerOutput::Send(bytes) => Some(bytes.to_vec()),
                _ => None,
            })
            .unwrap();
    }
    assert!(closes(&feed(&mut device, &bytes)).is_none(), "the proof is good");
    let other = Installation { anchor: vec![0x31; 500], ..installation() };
    let other = super::frame::framed(&other.encode_for(Strength(128)).unwrap());
    let outputs = feed(&mut device, &other);
    assert_eq!(outputs.len(), 1, "nothing is installed: {outputs:?}");
    assert_eq!(closes(&outputs), Some(CloseReason::Protocol));
}

#[test]
fn a_forged_proof_is_refused_and_stays_charged() {
    let frames = frames_of_the_controller(&mut device(Attempts::default()));
    let mut device = device(Attempts::default());
    feed(&mut device, &frames[0]);
    feed(&mut device, &frames[1]);
    // The confirmation of another run, and the installation right behind it.
    let both = [frames[2].clone(), frames[3].clone()].concat();
    let outputs = feed(&mut device, &both);
    assert_eq!(closes(&outputs), Some(CloseReason::WrongCode));
    assert!(!outputs.iter().any(|output| matches!(output, DeviceOutput::Install(_))));
    assert_eq!(device.attempts().failed(), 1);
}

#[test]
fn what_cannot_be_stored_is_not_acknowledged() {
    let mut random = SystemRandom;
    let (mut controller, hello) =
        PairingController::start(code(1), binding(1), &installation()).unwrap();
    let mut device = device(Attempts::default());
    let mut to_device = vec![hello.to_vec()];
    let mut failures = Vec::new();
    while let Some(bytes) = (!to_device.is_empty()).then(|| to_device.remove(0)) {
        let mut outputs = feed(&mut device, &bytes);
        if outputs.iter().any(|output| matches!(output, DeviceOutput::Install(_))) {
            outputs.extend(device.not_installed());
        }
        for output in outputs {
            let DeviceOutput::Send(bytes) = output else { continue };
            for output in controller.receive(&bytes, &mut random) {
                match output {
                    ControllerOutput::Send(bytes) => to_device.push(bytes.to_vec()),
                    ControllerOutput::Failed(failure) => failures.push(failure),
                    ControllerOutput::Paired(_) => panic!("nothing was stored"),
                }
            }
        }
    }
    assert_eq!(failures, [PairingFailure::Refused(RefusedReason::Storage)]);
}

#[test]
fn a_last_word_that_is_lost_leaves_it_open_whose_the_device_is() {
    let (mut random, mut device) = (SystemRandom, device(Attempts::default()));
    let (mut controller, hello) =
        PairingController::start(code(1), binding(1), &installation()).unwrap();
    let mut to_device = hello.to_vec();
    // Params and share, then share and confirmation: after these the controller has sent everything.
    for _ in 0..2 {
        let outputs = feed(&mut device, &std::mem::take(&mut to_device));
        for output in outputs {
            let DeviceOutput::Send(bytes) = output else { continue };
            for output in controller.receive(&bytes, &mut random) {
                let ControllerOutput::Send(bytes) = output else { panic!("{output:?}") };
                to_device.extend(bytes.iter());
            }
        }
    }
    let outputs = feed(&mut device, &to_device);
    assert!(matches!(outputs.last(), Some(DeviceOutput::Install(_))), "{outputs:?}");
    let ended = controller.broken_off();
    let [ControllerOutput::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(*failure, PairingFailure::Unacknowledged);
    let (mut early, _) = PairingController::start(code(1), binding(1), &installation()).unwrap();
    let ended = early.broken_off();
    let [ControllerOutput::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(*failure, PairingFailure::Protocol);
    assert!(early.broken_off().is_empty());
}

//= specs/house.md#house-pairing
//= type=test
//# One controller at a time MUST be able to try a setup code, and another one MUST be told so.
#[test]
fn the_second_is_told_and_costs_nothing_and_silence_holds_nothing() {
    let mut random = SystemRandom;
    let (mut controller, hello) =
        PairingController::start(code(1), binding(1), &installation()).unwrap();
    let mut device = device(Attempts::default());
    assert_eq!(device.patience(), FIRST_WORD);
    let params = match &device.receive(&hello, NOW)[..] {
        [DeviceOutput::Send(params)] => params.to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(device.patience(), DERIVATION);
    let share = match &controller.receive(&params, &mut random)[..] {
        [ControllerOutput::Send(share)] => share.to_vec(),
        other => panic!("{other:?}"),
    };
    // Whatever else comes waits until the place is decided.
    let outputs = device.receive(&[&share[..], &share[..]].concat(), NOW);
    assert!(matches!(outputs[..], [DeviceOutput::Claim]), "{outputs:?}");
    assert_eq!(device.patience(), IN_PLACE);
    let told = device.occupied();
    assert_eq!(closes(&told), Some(CloseReason::Occupied));
    assert_eq!(device.attempts().failed(), 0);
    let DeviceOutput::Send(told) = &told[0] else { panic!("nothing is said") };
    let heard = controller.receive(told, &mut random);
    assert!(
        matches!(
            heard[..],
            [ControllerOutput::Failed(PairingFailure::Refused(RefusedReason::Busy))]
        ),
        "{heard:?}"
    );
    assert!(device.claimed(Attempts::default(), NOW, &mut random).is_empty(), "closed is closed");
}

/// The count that was read at the beginning may be old when the place is taken: the one of that moment decides.
#[test]
fn the_count_of_the_moment_decides() {
    let mut device = device(Attempts::default());
    let (mut controller, hello) =
        PairingController::start(code(1), binding(1), &installation()).unwrap();
    let outputs = device.receive(&hello, NOW);
    let DeviceOutput::Send(params) = &outputs[0] else { panic!("{outputs:?}") };
    let outputs = controller.receive(params, &mut SystemRandom);
    let ControllerOutput::Send(share) = &outputs[0] else { panic!("{outputs:?}") };
    device.receive(share, NOW);
    let used_up = (0..MAX_ATTEMPTS).fold(Attempts::default(), |all, _| all.charged(NOW));
    let outputs = device.claimed(used_up, NOW, &mut SystemRandom);
    assert_eq!(closes(&outputs), Some(CloseReason::Locked));
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut device = device(Attempts::default());
    assert_eq!(device.deadline(), NOW.plus(SESSION_TIMEOUT));
    assert_eq!(closes(&device.timeout()), Some(CloseReason::Timeout));
    assert!(device.timeout().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_closes_and_never_installs(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        framed in any::<bool>(),
    ) {
        let mut random = SystemRandom;
        let bytes = if framed { super::frame::framed(&bytes).to_vec() } else { bytes };
        let mut device = device(Attempts::default());
        let outputs = feed(&mut device, &bytes);
        let installs = outputs.iter().any(|output| matches!(output, DeviceOutput::Install(_)));
        prop_assert!(!installs);
        if framed {
            prop_assert_eq!(closes(&outputs), Some(CloseReason::Protocol));
        }
        let (mut controller, _) =
            PairingController::start(code(1), binding(1), &installation()).unwrap();
        for output in controller.receive(&bytes, &mut random) {
            prop_assert!(matches!(output, ControllerOutput::Failed(_)));
        }
    }

    /// One byte changed on the way to the device, anywhere in the conversation: it does not end in an installation, unless
    /// the change was undone by nothing being read there.
    #[test]
    fn a_changed_byte_never_installs(which in 0..3_usize, at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut random = SystemRandom;
        let mut device = device(Attempts::default());
        let (mut controller, hello) =
            PairingController::start(code(1), binding(1), &installation()).unwrap();
        let mut queue = vec![hello.to_vec()];
        let mut sent = 0;
        let mut installed = false;
        while !queue.is_empty() {
            let mut bytes = queue.remove(0);
            if sent == which {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            sent += 1;
            for output in feed(&mut device, &bytes) {
                match output {
                    DeviceOutput::Install(_) => installed = true,
                    DeviceOutput::Send(answer) => {
                        for output in controller.receive(&answer, &mut random) {
                            if let ControllerOutput::Send(bytes) = output {
                                queue.push(bytes.to_vec());
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        prop_assert!(!installed);
    }
}

#[test]
fn secrets_do_not_show() {
    let text = format!("{:?} {:?}", installation(), device(Attempts::default()));
    assert!(!text.contains("correct horse"), "{text}");
}
