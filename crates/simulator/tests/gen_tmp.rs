#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]
#[path = "../../../fuzz/src/targets/mod.rs"]
mod targets;
use countersign_model::invite::Invite;
use countersign_model::label::RootFingerprint;
use countersign_protocol::invitation::{
    InvitationDevice, InvitationJoiner, InvitationOutput, JoinerOutput,
};
use countersign_protocol::journal::{Journal, Note, What};
struct Seeds;
type O = Result<(), Box<dyn std::error::Error>>;
impl Seeds {
    fn corpus(&self, t: &str, n: &str, b: &[u8]) -> O {
        let f = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(t);
        std::fs::create_dir_all(&f)?;
        Ok(std::fs::write(f.join(n), b)?)
    }
    fn fixture(&self, n: &str, b: &[u8]) -> O {
        Ok(std::fs::write(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fixtures").join(n),
            b,
        )?)
    }
    /// One honest invitation: what each side sent, in order; with what owners and devices write around it.
    fn invitation(&self) -> Result<(), Box<dyn std::error::Error>> {
        let mut device =
            InvitationDevice::new(targets::known::binding(), [3; 32], targets::known::NOW);
        let mut door = targets::known::door();
        let (mut device_random, mut joiner_random) =
            (targets::known::Known(1), targets::known::Known(2));
        let (mut joiner, first) = InvitationJoiner::start(
            targets::known::code(),
            targets::known::binding(),
            targets::known::ANCHOR,
        );
        let (mut from_joiner, mut from_device) = (vec![first.to_vec()], Vec::new());
        let mut to_device = first.to_vec();
        while !to_device.is_empty() {
            let mut to_joiner = Vec::new();
            let mut outputs =
                device.receive(&to_device, &mut door, targets::known::NOW, &mut device_random);
            while !outputs.is_empty() {
                match outputs.remove(0) {
                    InvitationOutput::Send(bytes) => {
                        to_joiner.extend_from_slice(&bytes);
                        from_device.push(bytes.to_vec());
                    }
                    InvitationOutput::Store(_) => outputs.extend(device.stored()),
                    InvitationOutput::Ended(_) | InvitationOutput::Close(_) => {}
                }
            }
            to_device.clear();
            for output in joiner.receive(&to_joiner, &mut joiner_random) {
                if let JoinerOutput::Send(bytes) = output {
                    to_device.extend_from_slice(&bytes);
                    from_joiner.push(bytes.to_vec());
                }
            }
        }
        // The proof: all but the anchor; all but the welcome and the acknowledgement.
        self.fixture("proof_of_joiner.bin", &from_joiner[..3].concat())?;
        self.fixture("proof_of_inviter.bin", &from_device[..2].concat())?;
        self.corpus("invitation_device", "honest", &from_joiner.concat())?;
        self.corpus("invitation_joiner", "honest", &from_device.concat())?;
        let root = RootFingerprint::from_sha256(&[0x3c; 32]);
        let address = "192.168.1.20:5541".parse()?;
        let invite = Invite::new(targets::known::thing(), targets::known::code(), root, address);
        self.corpus("invite", "qr", invite.qr_text().as_bytes())?;
        let input = targets::known::offer().to_input(targets::known::binding().strength)?;
        self.corpus("invite", "offer", input.to_string().as_bytes())?;
        let mut journal = Journal::default();
        journal.append(
            targets::known::NOW,
            "the setup code",
            Note::new(What::Paired).of("alice".parse()?),
        );
        let note = Note::new(What::Invited).of("sam".parse()?).detail("for 600 seconds");
        journal.append(targets::known::NOW, "person:alice", note);
        self.corpus("journal", "two", &serde_json::to_vec(&journal)?)
    }
}
#[test]
fn generate() {
    Seeds.invitation().unwrap();
}
