//! The controller's half of pairing, fed by a device that may be anybody.

use super::known::{Known, binding, code, installation};
use countersign_protocol::pairing::{ControllerOutput, PairingController};

/// What the honest device sent to prove its verifier, when the corpus was made.
const PROOF: &[u8] = include_bytes!("../../fixtures/proof_of_device.bin");

//= specs/en-303-645.md#5.5-7
//= type=test
//# Critical security parameters that travel over remotely accessible interfaces MUST stay confidential and intact.
/// The home's secrets go to nobody who does not know the verifier.
pub fn target(data: &[u8]) {
    let (mut controller, _) =
        PairingController::start(code(), binding(), &installation()).expect("it can be installed");
    let mut random = Known(2);
    for piece in data.chunks(89) {
        for output in controller.receive(piece, &mut random) {
            match output {
                ControllerOutput::Send(bytes) => {
                    let secret = bytes.windows(13).any(|window| window == b"correct horse");
                    assert!(
                        !secret || data.starts_with(PROOF),
                        "the network's key went to a stranger"
                    );
                }
                ControllerOutput::Paired(_) => {
                    assert!(data.starts_with(PROOF), "paired with a stranger");
                }
                ControllerOutput::Failed(_) => return,
            }
        }
    }
    controller.broken_off();
}
