//! shm-state
