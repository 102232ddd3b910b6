//! The device's half of pairing, fed by a controller that may be anybody.

use super::known::{Known, NOW, device};
use countersign_protocol::pairing::DeviceOutput;
use std::collections::VecDeque;

/// What the honest controller sent to prove the code, when the corpus was made.
const PROOF: &[u8] = include_bytes!("../../fixtures/proof_of_controller.bin");

/// Nobody installs without the code, and no answer leaves before the attempt was counted.
pub fn target(data: &[u8]) {
    let mut device = device();
    let mut random = Known(1);
    let mut sent = 0usize;
    let mut counted = false;
    for piece in data.chunks(97) {
        let mut outputs = VecDeque::from(device.receive(piece, NOW));
        while let Some(output) = outputs.pop_front() {
            match output {
                DeviceOutput::Claim => {
                    outputs.extend(device.claimed(device.attempts(), NOW, &mut random));
                }
                DeviceOutput::Persist(attempts) => counted |= attempts.failed() > 0,
                DeviceOutput::Send(bytes) => {
                    sent += 1;
                    // The first frame holds salt and cost, the second can test a guess.
                    assert!(sent == 1 || counted || bytes.len() < 40, "an answer before the count");
                }
                DeviceOutput::Install(_) => {
                    assert!(data.starts_with(PROOF), "installed without the code");
                }
                DeviceOutput::Close(_) => return,
            }
        }
    }
}
