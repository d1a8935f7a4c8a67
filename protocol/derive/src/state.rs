//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, GenericArgument, Ident, PathArguments, Type};

/// What other attributes a state's fields will have one day.
const LATER: [&str; 5] = ["predict", "interp", "keep", "index", "max"];

/// A field of the state struct with its attributes read.
struct StateField {
    ident: Ident,
    ty: Type,
    sync: TokenStream,
    priority: TokenStream,
}

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new_spanned(&input.ident, "a state is a struct"));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(syn::Error::new_spanned(&input.ident, "the fields of a state have names"));
    };
    let fields = named.named.iter().map(StateField::read).collect::<syn::Result<Vec<_>>>()?;
    let ident = &input.ident;
    let name = ident.unraw().to_string();
    let declares = fields.iter().map(StateField::declare);
    let members = fields.iter().map(|field| &field.ident);
    let types = fields.iter().map(|field| &field.ty);
    let hooks = fields.iter().enumerate().map(|(position, field)| field.hook(position));
    let columns = handles(&fields, "Column", "ColumnId");
    let globals = handles(&fields, "Global", "GlobalId");
    Ok(quote! {
        #[automatically_derived]
        impl ::ringfort::game::State for #ident {
            const NAME: &'static str = #name;

            #[allow(unused_variables)]
            fn declare(to: &mut ::ringfort::game::Declare) {
                #(#declares)*
            }

            #[allow(unused_variables)]
            fn bind(to: &mut ::ringfort::game::Binder) -> Self {
                Self { #(#members: <#types as ::ringfort::game::StateField>::bind(to)),* }
            }

            #[allow(unused_variables)]
            fn hook(&mut self, hook: ::ringfort::game::Hook) {
                #(#hooks)*
            }
        }

        #[automatically_derived]
        #[allow(dead_code, private_interfaces)]
        impl #ident {
            #(#columns)*
            #(#globals)*
        }
    })
}

impl StateField {
    fn read(field: &syn::Field) -> syn::Result<StateField> {
        let mut sync = quote!(::ringfort::protocol::schema::Sync::None);
        let mut priority = quote!(1.0);
        for attribute in &field.attrs {
            if attribute.path().is_ident("sync") {
                read_sync(attribute, &mut sync, &mut priority)?;
            } else if LATER.iter().any(|name| attribute.path().is_ident(name)) {
                return Err(later(attribute));
            }
        }
        let ident = field.ident.clone().ok_or_else(|| syn::Error::new(field.span(), "the field needs a name"))?;
        Ok(StateField { ident, ty: field.ty.clone(), sync, priority })
    }

    fn declare(&self) -> TokenStream {
        let StateField { ty, sync, priority, .. } = self;
        let name = self.ident.unraw().to_string();
        quote_spanned! {ty.span()=>
            <#ty as ::ringfort::game::StateField>::declare(
                to,
                ::ringfort::game::FieldOptions { name: #name, sync: #sync, priority: #priority },
            );
        }
    }

    fn hook(&self, position: usize) -> TokenStream {
        let StateField { ident, ty, .. } = self;
        quote!(<#ty as ::ringfort::game::StateField>::hook(&mut self.#ident, #position, hook);)
    }

    /// The row type if the field is a `wrapper`, whatever path it is named by.
    fn row(&self, wrapper: &str) -> Option<&Type> {
        let Type::Path(path) = &self.ty else { return None };
        let last = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(row) => Some(row),
            _ => None,
        })
    }
}

/// The constants by which clients name the fields that are a `wrapper`.
fn handles(fields: &[StateField], wrapper: &str, handle: &str) -> Vec<TokenStream> {
    let rows = fields.iter().filter_map(|field| Some((field, field.row(wrapper)?)));
    let constant = |(index, (field, row)): (usize, (&StateField, &Type))| {
        let index = index as u16;
        let name = Ident::new(&field.ident.unraw().to_string().to_uppercase(), field.ident.span());
        let handle = Ident::new(handle, field.ident.span());
        let doc = format!("Names the field `{}` to a client.", field.ident.unraw());
        quote! {
            #[doc = #doc]
            pub const #name: ::ringfort::protocol::#handle<#row> = ::ringfort::protocol::#handle::new(#index);
        }
    };
    rows.enumerate().map(constant).collect()
}

/// `#[sync(all | owner | none | near = radius, priority = weight)]`.
fn read_sync(attribute: &Attribute, sync: &mut TokenStream, priority: &mut TokenStream) -> syn::Result<()> {
    let mut visibility = None;
    let mut weight = None;
    attribute.parse_nested_meta(|meta| {
        let seen_by = |variant: TokenStream| quote!(::ringfort::protocol::schema::Sync::#variant);
        let found = if meta.path.is_ident("all") {
            seen_by(quote!(All))
        } else if meta.path.is_ident("owner") {
            seen_by(quote!(Owner))
        } else if meta.path.is_ident("none") {
            seen_by(quote!(None))
        } else if meta.path.is_ident("near") {
            let radius = meta.value()?.parse::<Expr>()?;
            seen_by(quote!(Near(#radius)))
        } else if meta.path.is_ident("priority") {
            weight = Some(meta.value()?.parse::<Expr>()?);
            return Ok(());
        } else if meta.path.is_ident("rate") || meta.path.is_ident("once") {
            return Err(meta.error("this option of #[sync] is not available yet"));
        } else {
            return Err(meta.error("expected `all`, `owner`, `none`, `near = radius` or `priority = weight`"));
        };
        if visibility.replace(found).is_some() {
            return Err(meta.error("one of `all`, `owner`, `none` and `near` is enough"));
        }
        Ok(())
    })?;
    let message = "say who sees it: `all`, `owner`, `none` or `near = radius`";
    *sync = visibility.ok_or_else(|| syn::Error::new_spanned(attribute, message))?;
    if let Some(weight) = weight {
        *priority = quote!(#weight);
    }
    Ok(())
}

/// The error for an attribute that the API has and this version does not.
pub(crate) fn later(attribute: &Attribute) -> syn::Error {
    syn::Error::new_spanned(attribute, "this attribute is not available yet")
}
