//! The joiner's half of an invitation, fed by a device that may be anybody.

use super::known::{ANCHOR, Known, binding, code};
use countersign_protocol::invitation::{InvitationJoiner, JoinerOutput};

/// What the honest device sent to prove that it was given the code, when the corpus was made.
const PROOF: &[u8] = include_bytes!("../../fixtures/proof_of_inviter.bin");

/// The joiner believes nobody who does not know the verifier, and tells them no anchor.
pub fn target(data: &[u8]) {
    let (mut joiner, _) = InvitationJoiner::start(code(), binding(), ANCHOR);
    let mut random = Known(2);
    for piece in data.chunks(89) {
        for output in joiner.receive(piece, &mut random) {
            match output {
                JoinerOutput::Send(bytes) => {
                    let told = bytes.windows(ANCHOR.len()).any(|window| window == ANCHOR);
                    assert!(!told || data.starts_with(PROOF), "the anchor went to a stranger");
                }
                JoinerOutput::Welcome(_) | JoinerOutput::Joined => {
                    assert!(data.starts_with(PROOF), "welcomed by a stranger");
                }
                JoinerOutput::Failed(_) => return,
            }
        }
    }
}
