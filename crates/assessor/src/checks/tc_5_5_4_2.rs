//! TC 5.5-4-2: are the wrong ones refused and the right ones admitted, in the initialised state? (functional)

use super::View;
use super::authentication::{Scope, functional};
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::State;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let state = view.declaration().dut.state;
    if state != State::Initialised {
        let reason = format!(
            "this case is about the initialised state; the device was assessed when {state}"
        );
        return vec![Unit::new(
            "a",
            "Is the device in the initialised state?",
            vec![Finding::inconclusive("DUT", reason)],
        )];
    }
    functional(view, Scope::Initialised)
}
