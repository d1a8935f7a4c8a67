//! `#[derive(Timer)]`.

use crate::message::{self, Variant};
use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let variants = message::read(input, false)?;
    let ident = &input.ident;
    let (encode, decode) = (message::encode(&variants), message::decode(&variants));
    let sizes = variants.iter().map(|variant| variant.assert_size(&quote!(::ringfort::shm_state::limits::MAX_TIMER_BYTES)));
    let schemas = variants.iter().map(Variant::schema);
    let bits = variants.iter().map(Variant::bits);
    Ok(quote! {
        #(#sizes)*

        #[automatically_derived]
        impl ::ringfort::protocol::TimerPayload for #ident {
            fn variants() -> ::std::vec::Vec<::ringfort::protocol::schema::VariantSchema> {
                ::std::vec![#(#schemas),*]
            }

            #encode
            #decode

            fn max_bytes() -> usize {
                let bits = [#(#bits),*];
                bits.into_iter().max().unwrap_or(0).div_ceil(8) as usize
            }
        }
    })
}
