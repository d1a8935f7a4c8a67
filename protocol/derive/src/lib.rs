//! protocol/derive
