//! May this operator make this call? The only place where a [`CallPermit`] is made.
//!
//! ```text
//!  TLS: a certificate of the Service CA ─► an operator, active, not revoked ─► its role ─► table ─► CallPermit<that call>
//! ```

use std::marker::PhantomData;

use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::tls::VerifiedPeer;
use countersign_model::id::OperatorName;

use super::call::Call;
use super::role::Role;
use crate::registration::State;
use crate::registry::RegistryView;
use crate::subject::Subject;

/// A call as a type, so that the permit for one opens no other.
pub trait CallType {
    /// Which.
    const CALL: Call;
}

macro_rules! call_types {
    ($($name:ident),*) => {$(
        #[doc = concat!("[`Call::", stringify!($name), "`] as a type.")]
        #[derive(Debug)]
        pub enum $name {}
        impl CallType for $name {
            const CALL: Call = Call::$name;
        }
    )*};
}
call_types!(Describe, ReadStatus, ListSubjects, Revoke, Reinstate, VerifyLedger, ReadExpiry);

/// An operator whom the interface knows: active, with a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOperator {
    name: OperatorName,
    role: Role,
}

impl KnownOperator {
    /// Whom a connection's certificate speaks for, if that is an operator who may come at all.
    pub(super) fn of(peer: &VerifiedPeer, registry: &RegistryView) -> Option<Self> {
        let name: OperatorName = peer.name().parse().ok()?;
        let known = registry.subject(&Subject::Operator(name.clone()))?;
        let counts = peer.kind() == IdentityKind::Operator
            && known.state == State::Active
            && !registry.is_revoked(peer.certificate());
        let role = registry.role(&name)?;
        counts.then_some(Self { name, role })
    }

    /// Who.
    #[must_use]
    pub fn name(&self) -> &OperatorName {
        &self.name
    }

    /// What for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }
}

/// The right of one operator to one call. Made by [`permit`] only.
///
/// ```compile_fail
/// use countersign_authority::admin::{CallPermit, Revoke};
/// let forged: CallPermit<Revoke> = CallPermit { call: std::marker::PhantomData };
/// ```
#[derive(Debug)]
pub struct CallPermit<C: CallType> {
    call: PhantomData<C>,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role {role} does not have the permission {permission}")]
pub struct NotPermitted {
    role: Role,
    permission: &'static str,
}

/// Judges by the table of [`Role::may`].
///
/// # Errors
/// [`NotPermitted`] names role and permission.
//= specs/house.md#house-administration
//# An admin call MUST be carried out only with the permit that its caller's role gives for that call.
pub fn permit<C: CallType>(who: &KnownOperator) -> Result<CallPermit<C>, NotPermitted> {
    match who.role.may(C::CALL) {
        true => Ok(CallPermit { call: PhantomData }),
        false => Err(NotPermitted { role: who.role, permission: C::CALL.permission() }),
    }
}
