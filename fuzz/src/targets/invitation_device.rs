//! The device's half of an invitation, fed by somebody who may be anybody.

use super::known::{ANCHOR, Known, NOW, binding, discovery, door};
use countersign_protocol::invitation::{InvitationDevice, InvitationOutput};

/// What the honest joiner sent to prove the code, when the corpus was made.
const PROOF: &[u8] = include_bytes!("../../fixtures/proof_of_joiner.bin");

/// Nobody is let in without the code, and then only the one who was invited, with what they promised.
pub fn target(data: &[u8]) {
    let mut device = InvitationDevice::new(binding(), [3; 32], discovery(), NOW);
    let (mut door, mut random) = (door(), Known(1));
    for piece in data.chunks(97) {
        for output in device.receive(piece, &mut door, NOW, &mut random) {
            match output {
                InvitationOutput::Send(_) | InvitationOutput::Ended(_) => {}
                InvitationOutput::Store(joining) => {
                    assert!(data.starts_with(PROOF), "let in without the code");
                    assert_eq!((joining.person().as_str(), joining.anchor()), ("sam", ANCHOR));
                    assert!(door.invited().is_none(), "the invitation is still open");
                }
                InvitationOutput::Close(_) => return,
            }
        }
    }
}
