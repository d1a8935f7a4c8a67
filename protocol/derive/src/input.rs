//! `#[derive(Input)]`.

use crate::fields::{self, Allowed, Field, braces};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput};

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new_spanned(&input.ident, "an input is a struct"));
    };
    let fields = fields::read(&data.fields, Allowed { coding: true, sync_none: false })?;
    let ident = &input.ident;
    let asserts = fields.iter().map(Field::assert_coding);
    let finite = fields.iter().map(Field::assert_finite);
    let bits = fields.iter().map(Field::bits);
    let schemas = fields.iter().map(Field::schema_in_self);
    let encodes = fields.iter().map(|field| {
        let member = &field.member;
        field.encode(&quote!(self.#member))
    });
    let decodes = braces(&fields, Field::decode);
    let quantises = fields.iter().map(Field::quantise);
    let members: Vec<_> = fields.iter().map(|field| &field.member).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    Ok(quote! {
        #(#asserts)*
        #(#finite)*
        const _: () = ::core::assert!(
            0 #(+ #bits)* <= 8 * ::ringfort::shm_state::limits::MAX_INPUT_BYTES as u32,
            "an input takes more than its 32 bytes on the wire: give its fields #[q], and send what is rare as a command",
        );

        #[automatically_derived]
        #[allow(unused_variables)]
        impl ::ringfort::protocol::Input for #ident {
            fn fields() -> ::std::vec::Vec<::ringfort::protocol::schema::FieldSchema> {
                ::std::vec![#(#schemas),*]
            }

            fn encode(&self, to: &mut ::ringfort::protocol::bits::BitWriter) {
                #(#encodes)*
            }

            fn decode(
                from: &mut ::ringfort::protocol::bits::BitReader<'_>,
            ) -> ::core::result::Result<Self, ::ringfort::protocol::DecodeError> {
                ::core::result::Result::Ok(Self #decodes)
            }

            fn quantise(&mut self) {
                #(#quantises)*
            }

            fn after(&mut self, previous: &Self) {
                #(<#types as ::ringfort::protocol::Field>::after(&mut self.#members, &previous.#members);)*
            }

            fn repeat(&mut self) {
                #(<#types as ::ringfort::protocol::Field>::repeat(&mut self.#members);)*
            }

            fn merge(&mut self, earlier: &Self) {
                #(<#types as ::ringfort::protocol::Field>::merge(&mut self.#members, &earlier.#members);)*
            }
        }
    })
}
