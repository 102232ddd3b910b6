//! Permits: what a handler demands before it does anything.
//!
//! A permit is a value with private fields that only the judgement in this module makes. A function that reads, commands
//! or configures takes one, so code that forgets to ask does not compile; there is no invisible chain of middleware.
//!
//! ```text
//!  at the device   Request ─► device::judge(state, subject, thing, request, now) ─► ReadPermit
//!                                                                                 │ CommandPermit
//!                                                                                 │ ConfigurePermit
//!                                                                                 └ Refusal (says nothing to strangers)
//!  at the gateway  channel ─► door::judge ─► SessionPermit, PolicyUpdatePermit or refusal
//!                  CONNECT, PUBLISH, SUBSCRIBE, will ─► messaging ─► permit or refusal
//! ```
//!
//! Permits are short-lived: one request, one permit. Whatever lasts longer (an observation, an MQTT session) keeps its
//! request and is judged again when roles, certificates or the device's state change.

pub mod device;
pub mod door;
pub mod messaging;
