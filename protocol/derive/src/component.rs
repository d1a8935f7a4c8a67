//! `#[derive(Component)]`.

use crate::fields::{self, Allowed, Field, braces};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DeriveInput, Expr, ExprLit, Fields, Lit};

const MAX_VARIANTS: usize = u8::MAX as usize;

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    match &input.data {
        Data::Struct(data) => of_struct(input, &data.fields),
        Data::Enum(data) => of_enum(input, data),
        Data::Union(data) => Err(syn::Error::new(data.union_token.span, "a union can't be a component")),
    }
}

fn of_struct(input: &DeriveInput, fields: &Fields) -> syn::Result<TokenStream> {
    if fields.is_empty() {
        let message = "a component needs a field: a row without bytes has no place in a page";
        return Err(syn::Error::new_spanned(&input.ident, message));
    }
    let fields = fields::read(fields, Allowed { coding: true, sync_none: true })?;
    let ident = &input.ident;
    let name = ident.to_string();
    let asserts = fields.iter().map(Field::assert_coding);
    let schemas = fields.iter().map(Field::schema_in_self);
    let synced = || fields.iter().filter(|field| field.synced);
    let encodes = synced().map(|field| {
        let member = &field.member;
        field.encode(&quote!(self.#member))
    });
    let decodes = braces(&fields, |field| {
        let ty = &field.ty;
        if field.synced { field.decode() } else { quote!(<#ty as ::ringfort::protocol::Field>::unsynced()) }
    });
    let quantises = synced().map(Field::quantise);
    let lerps = braces(&fields, Field::lerp);
    // How far apart two rows are is a matter of their places, where they have one: a velocity is no distance.
    let places: Vec<_> = synced().filter(|field| field.name() == "pos").collect();
    let distances: Vec<_> = if places.is_empty() {
        synced().map(Field::distance).collect()
    } else {
        places.into_iter().map(Field::distance).collect()
    };
    // Rows of which nothing is sent are nowhere apart, as the trait has it.
    let distance = (!distances.is_empty()).then(|| {
        quote! {
            fn distance(&self, to: &Self) -> f32 {
                ::ringfort::protocol::component::farthest([#(#distances),*])
            }
        }
    });
    let valid = fields.iter().map(Field::valid);
    let plain = plain(input, &fields);
    Ok(quote! {
        #(#asserts)*

        #[automatically_derived]
        impl ::ringfort::protocol::Component for #ident {
            const NAME: &'static str = #name;

            fn fields() -> ::std::vec::Vec<::ringfort::protocol::schema::FieldSchema> {
                ::std::vec![#(#schemas),*]
            }

            #[allow(unused_variables)]
            fn encode(&self, to: &mut ::ringfort::protocol::bits::BitWriter) {
                #(#encodes)*
            }

            #[allow(unused_variables)]
            fn decode(
                from: &mut ::ringfort::protocol::bits::BitReader<'_>,
            ) -> ::core::result::Result<Self, ::ringfort::protocol::DecodeError> {
                ::core::result::Result::Ok(Self #decodes)
            }

            fn quantise(&mut self) {
                #(#quantises)*
            }

            fn lerp(&self, to: &Self, alpha: f32) -> Self {
                if alpha >= 1.0 {
                    return *to;
                }
                if !(alpha > 0.0) {
                    return *self;
                }
                Self #lerps
            }

            #distance

            fn valid(row: &[u8]) -> bool {
                row.len() == ::core::mem::size_of::<Self>() #(&& #valid)*
            }
        }

        #plain
    })
}

fn of_enum(input: &DeriveInput, data: &DataEnum) -> syn::Result<TokenStream> {
    check_repr(input)?;
    check_variants(input, data)?;
    let ident = &input.ident;
    let name = ident.to_string();
    let count = data.variants.len() as u8;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let first = variants[0];
    let codes = 0..count;
    let field = as_field(
        ident,
        count,
        &quote!(match code { #(#codes => Self::#variants,)* _ => return ::core::result::Result::Err(
        ::ringfort::protocol::DecodeError::OutOfRange,
    ) }),
        &quote!(Self::#first),
    );
    let plain = plain(input, &[]);
    let not_a_byte = format!("`enum {ident}` must be stored as one byte: take every #[repr] but #[repr(u8)] away");
    Ok(quote! {
        #field

        const _: () = ::core::assert!(::core::mem::size_of::<#ident>() == 1, #not_a_byte);

        #[automatically_derived]
        impl ::ringfort::protocol::Component for #ident {
            const NAME: &'static str = #name;

            fn fields() -> ::std::vec::Vec<::ringfort::protocol::schema::FieldSchema> {
                ::std::vec![::ringfort::protocol::schema::FieldSchema {
                    name: ::std::string::String::from("value"),
                    offset: 0,
                    kind: <Self as ::ringfort::protocol::Field>::KIND,
                    coding: ::ringfort::protocol::schema::Coding::Raw,
                    synced: true,
                }]
            }

            fn encode(&self, to: &mut ::ringfort::protocol::bits::BitWriter) {
                ::ringfort::protocol::Field::encode(self, ::ringfort::protocol::schema::Coding::Raw, to);
            }

            fn decode(
                from: &mut ::ringfort::protocol::bits::BitReader<'_>,
            ) -> ::core::result::Result<Self, ::ringfort::protocol::DecodeError> {
                ::ringfort::protocol::Field::decode(::ringfort::protocol::schema::Coding::Raw, from)
            }

            fn quantise(&mut self) {}

            fn valid(row: &[u8]) -> bool {
                <Self as ::ringfort::protocol::Field>::valid(row)
            }
        }

        #plain
    })
}

fn as_field(ident: &syn::Ident, count: u8, decode: &TokenStream, first: &TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl ::ringfort::protocol::Field for #ident {
            const KIND: ::ringfort::protocol::schema::FieldKind =
                ::ringfort::protocol::schema::FieldKind::Enum { variants: #count };

            fn encode(
                &self,
                coding: ::ringfort::protocol::schema::Coding,
                to: &mut ::ringfort::protocol::bits::BitWriter,
            ) {
                to.write(*self as u64, <Self as ::ringfort::protocol::Field>::KIND.wire_bits(coding));
            }

            fn decode(
                coding: ::ringfort::protocol::schema::Coding,
                from: &mut ::ringfort::protocol::bits::BitReader<'_>,
            ) -> ::core::result::Result<Self, ::ringfort::protocol::DecodeError> {
                let code = from.read(<Self as ::ringfort::protocol::Field>::KIND.wire_bits(coding))? as u8;
                ::core::result::Result::Ok(#decode)
            }

            fn quantise(&mut self, _coding: ::ringfort::protocol::schema::Coding) {}

            fn unsynced() -> Self {
                #first
            }

            fn valid(bytes: &[u8]) -> bool {
                ::core::matches!(bytes, [code] if *code < #count)
            }
        }
    }
}

/// The type may stand in shared pages. An enum has no `fields`, and its one byte no padding.
fn plain(input: &DeriveInput, fields: &[Field]) -> TokenStream {
    let ident = &input.ident;
    let padding = padding(ident, fields);
    quote_spanned! {ident.span()=>
        // SAFETY: every field implements `protocol::Field`, which this derive's other code requires: numbers, ids, vectors
        // and fieldless enums of one byte, all `Copy`, without references and without padding, whose values mean the same in
        // every process that runs this binary. The padding is what the compiler lays out between them.
        #[automatically_derived]
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        unsafe impl ::ringfort::shm_state::Plain for #ident {
            #padding
        }
    }
}

/// What no field covers; `Plain`'s default says that there is nothing.
fn padding(ident: &syn::Ident, fields: &[Field]) -> TokenStream {
    if fields.is_empty() {
        return TokenStream::new();
    }
    let count = fields.len();
    let places = fields.iter().map(|field| {
        let Field { member, ty, .. } = field;
        quote!((::core::mem::offset_of!(#ident, #member), ::core::mem::size_of::<#ty>()))
    });
    quote! {
        const PADDING: &'static [(usize, usize)] = {
            const GAPS: &::ringfort::shm_state::Gaps<#count> =
                &::ringfort::shm_state::Gaps::between(::core::mem::size_of::<#ident>(), [#(#places),*]);
            GAPS.as_slice()
        };
    }
}

/// The byte in memory is the variant's number only if the enum says so.
fn check_repr(input: &DeriveInput) -> syn::Result<()> {
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        let mut is_byte = false;
        attribute.parse_nested_meta(|meta| {
            is_byte |= meta.path.is_ident("u8");
            Ok(())
        })?;
        if is_byte {
            return Ok(());
        }
    }
    let message =
        format!("an enum that is a component must be stored as one byte: write #[repr(u8)] above `enum {}`", input.ident);
    Err(syn::Error::new_spanned(&input.ident, message))
}

fn check_variants(input: &DeriveInput, data: &DataEnum) -> syn::Result<()> {
    if data.variants.is_empty() || data.variants.len() > MAX_VARIANTS {
        return Err(syn::Error::new_spanned(&input.ident, "an enum that is a component has 1 to 255 variants"));
    }
    for (number, variant) in data.variants.iter().enumerate() {
        if !matches!(variant.fields, Fields::Unit) {
            let message = "an enum that is a component has no fields; use a struct, or #[derive(Message)] for an event";
            return Err(syn::Error::new(variant.fields.span(), message));
        }
        let Some((_, value)) = &variant.discriminant else { continue };
        let literal = match value {
            Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal.base10_parse::<usize>().ok(),
            _ => None,
        };
        if literal != Some(number) {
            let message = format!("variants are numbered from 0 without gaps; this one is {number}, leave the number out");
            return Err(syn::Error::new_spanned(value, message));
        }
    }
    Ok(())
}
