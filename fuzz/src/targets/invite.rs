//! What an invited person's camera saw, and what an owner's controller sent to the device.

use countersign_crypto::secret::Strength;
use countersign_model::invite::Invite;
use countersign_protocol::invitation::Offer;

/// What was read is written and read again as the same.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(invite) = Invite::parse(text) {
        let again = Invite::parse(&invite.qr_text()).map(|again| again.qr_text());
        assert_eq!(again.ok(), Some(invite.qr_text()), "the QR text says something else");
    }
    let Ok(input) = serde_json::from_str(text) else { return };
    if let Ok(offer) = Offer::from_input(&input) {
        let written = offer.to_input(Strength(128)).expect("the channel is strong enough");
        let again = Offer::from_input(&written).map(|again| again.to_input(Strength(128)));
        assert_eq!(again, Ok(Ok(written)), "the offer says something else");
    }
}
