//! The derives that turn a game's types into its schema and its wire format.
//!
//! They name everything by absolute paths of the `ringfort` crate, which a game depends on. What an attribute gets wrong is
//! an error at the attribute; whether a coding suits a field's type is asserted by the compiler, which knows the type.

mod component;
mod fields;
mod input;
mod message;
mod state;
mod timer;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// A row of a column, or a global: a struct of wire fields, or a fieldless enum with `#[repr(u8)]`, which may then be a
/// field itself.
///
/// Fields are packed as `#[q(range = -256.0..=256.0, step = 0.01)]` (floats, per axis of a `Vec2`), `#[q(angle, bits = 10)]`
/// (radians) or `#[q(max = 100)]` (unsigned integers) says, or with all their bits. `#[sync(none)]` keeps a field on the
/// server.
#[proc_macro_derive(Component, attributes(q, sync, interp))]
pub fn component(tokens: TokenStream) -> TokenStream {
    expand(component::derive, parse_macro_input!(tokens as DeriveInput))
}

/// What a player sends every tick: a struct of wire fields. Floats need a `#[q]`.
#[proc_macro_derive(Input, attributes(q))]
pub fn input(tokens: TokenStream) -> TokenStream {
    expand(input::derive, parse_macro_input!(tokens as DeriveInput))
}

/// A command or an event: an enum whose variants have wire fields. `#[reliable]` and `#[predicted]` stand before a variant,
/// `#[q]` before a field.
#[proc_macro_derive(Message, attributes(q, reliable, predicted))]
pub fn message(tokens: TokenStream) -> TokenStream {
    expand(message::derive, parse_macro_input!(tokens as DeriveInput))
}

/// What a timer carries: an enum whose variants have wire fields.
#[proc_macro_derive(Timer)]
pub fn timer(tokens: TokenStream) -> TokenStream {
    expand(timer::derive, parse_macro_input!(tokens as DeriveInput))
}

/// The state struct of a game, whose fields are its columns, globals and helpers.
///
/// `#[sync(all)]`, `#[sync(owner)]` or `#[sync(near = 80.0)]` says who sees a field, with `priority = 4.0` if it matters more
/// than others; without it a field never leaves the server. For every `Column` and `Global` there is a constant of its
/// name in capitals by which clients ask for it.
#[proc_macro_derive(State, attributes(sync, predict, interp, keep, index, max))]
pub fn state(tokens: TokenStream) -> TokenStream {
    expand(state::derive, parse_macro_input!(tokens as DeriveInput))
}

fn expand(derive: fn(&DeriveInput) -> syn::Result<proc_macro2::TokenStream>, input: DeriveInput) -> TokenStream {
    check_generics(&input).and_then(|()| derive(&input)).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// A game's types have one layout and one schema, so they have no parameters.
fn check_generics(input: &DeriveInput) -> syn::Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    Err(syn::Error::new_spanned(
        &input.generics,
        "a type of a game's schema can't have parameters or borrow: it must mean the same in every process",
    ))
}

#[cfg(test)]
mod tests;
