//! Why a transaction was refused: the object, the field, and the values involved. All are the caller's fault, and
//! repeating the same transaction helps only for [`ErrorCode::NotFound`], once what is missing exists.

use thiserror::Error;
use wire::Mac;

use crate::{Key, NhId, limits};

/// The errno the original answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// ENOENT: something named does not exist.
    NotFound,
    /// EINVAL: a value is not allowed.
    Invalid,
    /// EPERM: the object cannot be changed.
    NotPermitted,
    /// ENOSPC: a table is full.
    Full,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// A referenced object is neither in the model nor put by the same transaction.
    #[error("{object}: {field}: there is no {missing}")]
    Missing {
        /// The object that refers.
        object: Key,
        /// Its field.
        field: &'static str,
        /// What does not exist.
        missing: Key,
    },
    /// A number above its limit.
    #[error("{object}: {field}: {value} is above {max}")]
    AboveLimit {
        /// The object.
        object: Key,
        /// Its field.
        field: &'static str,
        /// The number.
        value: u32,
        /// The largest allowed.
        max: u32,
    },
    /// A tunnel without a label.
    #[error("{object}: label: needed, because next hop {next_hop} is a tunnel")]
    LabelNeeded {
        /// The route.
        object: Key,
        /// The tunnel.
        next_hop: NhId,
    },
    /// An outer address of all zeros.
    #[error("{object}: {field}: must not be the zero address")]
    ZeroAddress {
        /// The next hop or adjacency.
        object: Key,
        /// Its field.
        field: &'static str,
    },
    /// A MAC of all zeros.
    #[error("{object}: {field}: must not be {}", Mac::ZERO)]
    ZeroMac {
        /// The object.
        object: Key,
        /// Its field.
        field: &'static str,
    },
    /// Outer source and destination of different families.
    #[error("{object}: destination: not of the same address family as source")]
    MixedFamilies {
        /// The next hop.
        object: Key,
    },
    /// An Ethernet header that is not 14 bytes.
    #[error("{object}: rewrite: {length} bytes given, must be 14")]
    RewriteLength {
        /// The next hop.
        object: Key,
        /// Bytes given.
        length: usize,
    },
    /// An ECMP group with too many members.
    #[error("{object}: members: {count} given, at most {} can be used", limits::ECMP_MEMBERS)]
    TooManyMembers {
        /// The next hop.
        object: Key,
        /// Positions given.
        count: usize,
    },
    /// A composite that has itself as a member.
    #[error("{object}: members: position {position} is the next hop itself")]
    OwnMember {
        /// The next hop.
        object: Key,
        /// Which member.
        position: usize,
    },
    /// A field that goes with the object's kind is missing, or given with another kind.
    #[error("{object}: {field}: {rule}")]
    Rule {
        /// The object.
        object: Key,
        /// Its field.
        field: &'static str,
        /// What must hold.
        rule: &'static str,
    },
    /// A member that this kind of composite cannot have.
    #[error("{object}: members: position {position} ({member}) must be {rule}")]
    MemberKind {
        /// The composite.
        object: Key,
        /// Which member.
        position: usize,
        /// What it is.
        member: Key,
        /// What the composite takes.
        rule: &'static str,
    },
    /// Next hop 0.
    #[error("{object}: always discards; it cannot be replaced or deleted")]
    Implicit {
        /// Next hop 0.
        object: Key,
    },
    /// No slot left for another station.
    #[error("{object}: the bridge table is full ({limit} stations)")]
    BridgeFull {
        /// The entry.
        object: Key,
        /// How many it holds.
        limit: u32,
    },
}

impl ModelError {
    /// The object at fault.
    pub fn object(&self) -> &Key {
        match self {
            ModelError::Missing { object, .. }
            | ModelError::AboveLimit { object, .. }
            | ModelError::LabelNeeded { object, .. }
            | ModelError::ZeroAddress { object, .. }
            | ModelError::ZeroMac { object, .. }
            | ModelError::MixedFamilies { object }
            | ModelError::RewriteLength { object, .. }
            | ModelError::TooManyMembers { object, .. }
            | ModelError::OwnMember { object, .. }
            | ModelError::Rule { object, .. }
            | ModelError::MemberKind { object, .. }
            | ModelError::Implicit { object }
            | ModelError::BridgeFull { object, .. } => object,
        }
    }

    /// Its field at fault.
    pub fn field(&self) -> &'static str {
        match self {
            ModelError::Missing { field, .. }
            | ModelError::AboveLimit { field, .. }
            | ModelError::ZeroAddress { field, .. }
            | ModelError::ZeroMac { field, .. }
            | ModelError::Rule { field, .. } => field,
            ModelError::LabelNeeded { .. } => "label",
            ModelError::MixedFamilies { .. } => "destination",
            ModelError::RewriteLength { .. } => "rewrite",
            ModelError::TooManyMembers { .. }
            | ModelError::OwnMember { .. }
            | ModelError::MemberKind { .. } => "members",
            ModelError::Implicit { .. } => "id",
            ModelError::BridgeFull { .. } => "mac",
        }
    }

    /// As errno.
    pub fn code(&self) -> ErrorCode {
        match self {
            ModelError::Missing { .. } => ErrorCode::NotFound,
            ModelError::Implicit { .. } => ErrorCode::NotPermitted,
            ModelError::BridgeFull { .. } => ErrorCode::Full,
            _ => ErrorCode::Invalid,
        }
    }
}
