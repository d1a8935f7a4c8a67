//! A scripted server beside a client without a socket: what each snapshot makes of worlds, predictions, events, clocks and steps.

mod arena;
mod events;
mod join;
mod predicted;
mod resumed;
mod script;
mod worlds;
