//! TC 5.5-4-1: does what a network reaches authenticate first, in the initialised state? (conceptual)

use super::View;
use super::authentication::{Scope, conceptual};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    conceptual(view, "5.5-4-1", Scope::Initialised)
}
