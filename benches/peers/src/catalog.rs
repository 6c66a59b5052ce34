//! What `GET /catalog/{count}?m={multiplier}` answers, on those servers that have it: so many items of `catalog.json`, each
//! with a total.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The query.
#[derive(Deserialize)]
pub struct Multiplier {
    pub m: u32,
}

#[derive(Deserialize)]
struct Item {
    id: u32,
    name: String,
    category: String,
    price: u32,
    quantity: u32,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Rating {
    score: u32,
    count: u32,
}

/// An item as it is answered.
#[derive(Serialize)]
struct Offer<'a> {
    id: u32,
    name: &'a str,
    category: &'a str,
    price: u32,
    quantity: u32,
    active: bool,
    tags: &'a [String],
    rating: Rating,
    total: u32,
}

/// The content of the answer.
#[derive(Serialize)]
pub struct Catalog {
    items: Vec<Offer<'static>>,
    count: usize,
}

static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| serde_json::from_str(include_str!("catalog.json")).unwrap());

impl Catalog {
    pub fn new(count: usize, Multiplier { m }: Multiplier) -> Self {
        let offer = |item: &'static Item| {
            let Item { id, price, quantity, active, rating, .. } = *item;
            let total = price.saturating_mul(quantity).saturating_mul(m);
            Offer {
                id,
                name: &item.name,
                category: &item.category,
                price,
                quantity,
                active,
                tags: &item.tags,
                rating,
                total,
            }
        };
        let items: Vec<_> = ITEMS.iter().take(count).map(offer).collect();
        Catalog { count: items.len(), items }
    }
}
