//! What `POST /order` receives and answers, on those servers that have it.

use serde::{Deserialize, Serialize};

/// The query.
#[derive(Deserialize)]
pub struct Terms {
    pub currency: String,
    pub express: bool,
}

/// The content of the request.
#[derive(Deserialize)]
pub struct Order {
    pub item: String,
    pub price: u32,
    pub count: u32,
}

/// The content of the answer, which has a Location as well.
#[derive(Serialize)]
pub struct Receipt {
    pub item: String,
    pub user: String,
    pub currency: String,
    pub total: u32,
}

impl Receipt {
    pub fn new(order: Order, terms: Terms, user: &str) -> Self {
        let delivery = if terms.express { 5 } else { 0 };
        let total = order.price.saturating_mul(order.count).saturating_add(delivery);
        Receipt { item: order.item, user: user.to_owned(), currency: terms.currency, total }
    }

    pub fn location(&self) -> String {
        format!("/orders/{}/{}", self.user, self.item)
    }
}
