//! The pipelines whose runs are generated.

/// A pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) id: &'static str,
    /// The member of a run's `input` that holds the request, and what it may be.
    pub(super) request: &'static str,
    pub(super) requests: &'static [&'static str],
    pub(super) items: ItemKind,
    pub(super) titles: &'static [&'static str],
    /// In order; a run with more steps goes through the later ones again.
    pub(super) stages: &'static [Stage],
}

/// What goes through a pipeline.
#[derive(Debug, Clone, Copy)]
pub(super) enum ItemKind {
    Product,
    Candidate,
    Chunk,
}

/// What a step does.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// Its `type`.
    pub(super) kind: &'static str,
    pub(super) action: Action,
    /// Names and JSON of what is in its `config`.
    pub(super) config: &'static [(&'static str, &'static str)],
    /// Reasons for what passes.
    pub(super) passed: &'static [&'static str],
    /// Reasons for what does not.
    pub(super) eliminated: &'static [&'static str],
}

/// How a step decides.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    /// Keeps everything.
    Pass,
    /// Gives everything a score.
    Score,
    /// Keeps about this share, at least one.
    Sift(f64),
    /// Keeps the best by a new score: this many per cent, at least one.
    Best(usize),
}

pub(super) static PIPELINES: [&Pipeline; 3] = [&PRODUCT_SEARCH, &CANDIDATE_MATCHING, &SUPPORT_ANSWERS];

static PRODUCT_SEARCH: Pipeline = Pipeline {
    id: "product-search-v2",
    request: "query",
    requests: &[
        "waterproof trail running shoes",
        "noise cancelling headphones under 200",
        "gift for a coffee lover",
        "günstiger Wanderrucksack 30 L",
    ],
    items: ItemKind::Product,
    titles: &[
        "Trailrunner GTX 4",
        "Café au Lait Mug, 350 ml",
        "\"Pro\" Over-Ear Headphones",
        "登山リュック 30L",
        "Pour-Over Kettle, 0.9 L",
        "Merino Base Layer – Men’s",
    ],
    stages: &[
        Stage {
            name: "retrieve_products",
            kind: "transform",
            action: Action::Pass,
            config: &[("index", r#""products-2026-01""#), ("topK", "200")],
            passed: &["matched by BM25", "matched by embedding", "matched by both"],
            eliminated: &[],
        },
        Stage {
            name: "filter_by_price_and_stock",
            kind: "filter",
            action: Action::Sift(0.65),
            config: &[("minPrice", "10"), ("maxPrice", "200.00"), ("inStockOnly", "true")],
            passed: &["price and stock are fine"],
            eliminated: &["price 249.00 is above the maximum of 200.00", "out of stock", "not shipped to DE"],
        },
        Stage {
            name: "rank_by_relevance",
            kind: "rank",
            action: Action::Score,
            config: &[("model", r#""ltr-7""#), ("features", r#"["bm25","ctr","margin"]"#)],
            passed: &["relevance from 3 features"],
            eliminated: &[],
        },
        Stage {
            name: "llm_rerank",
            kind: "llm",
            action: Action::Best(50),
            config: &[
                ("model", r#""gpt-4o-mini""#),
                ("temperature", "0"),
                ("prompt", r#""Does it answer the query?""#),
            ],
            passed: &["answers the query directly", "fits the stated use, good reviews"],
            eliminated: &["accessory rather than the product itself", "other category: “gifts”", "wrong size"],
        },
        Stage {
            name: "select_top",
            kind: "select",
            action: Action::Best(20),
            config: &[("limit", "10"), ("diversify", r#"{"by":"brand","max":2}"#)],
            passed: &["among the best"],
            eliminated: &["below the cut", "brand is there twice already"],
        },
    ],
};

static CANDIDATE_MATCHING: Pipeline = Pipeline {
    id: "candidate-matching",
    request: "position",
    requests: &["Senior Rust Engineer, Berlin", "Data Analyst (m/w/d), Zürich", "Site Reliability Engineer, remote"],
    items: ItemKind::Candidate,
    titles: &["Backend Developer", "Ingénieure logiciel", "Platform Engineer", "Datenanalyst", "C++ / Rust Developer"],
    stages: &[
        Stage {
            name: "load_candidates",
            kind: "transform",
            action: Action::Pass,
            config: &[("source", r#""ats""#), ("anonymise", "true")],
            passed: &["profile is complete", "profile was completed from the CV"],
            eliminated: &[],
        },
        Stage {
            name: "check_requirements",
            kind: "filter",
            action: Action::Sift(0.5),
            config: &[("minYears", "4"), ("languages", r#"["en","de"]"#)],
            passed: &["meets all requirements"],
            eliminated: &["2 years of experience, 4 are required", "no work permit", "not available before June"],
        },
        Stage {
            name: "score_skills",
            kind: "score",
            action: Action::Score,
            config: &[("weights", r#"{"skills":0.6,"experience":0.3,"location":0.1}"#)],
            passed: &["weighted sum of 3 criteria"],
            eliminated: &[],
        },
        Stage {
            name: "llm_review",
            kind: "llm",
            action: Action::Best(60),
            config: &[("model", r#""claude-sonnet-4""#), ("rubric", r#""rubric-12""#)],
            passed: &["strong match: async Rust in production", "good match, little domain knowledge"],
            eliminated: &["experience is mostly in front ends", "overqualified for the level"],
        },
        Stage {
            name: "shortlist",
            kind: "select",
            action: Action::Best(25),
            config: &[("limit", "5")],
            passed: &["on the shortlist"],
            eliminated: &["below the cut"],
        },
    ],
};

static SUPPORT_ANSWERS: Pipeline = Pipeline {
    id: "support-answers",
    request: "question",
    requests: &[
        "How do I return a gift?",
        "Why was I charged twice?",
        "Can I change the delivery address after ordering?",
        "¿Dónde está mi pedido? 📦",
    ],
    items: ItemKind::Chunk,
    titles: &[
        "Returns and refunds",
        "Payment methods",
        "Where is my parcel?",
        "Gift cards – terms",
        "Account & privacy",
    ],
    stages: &[
        Stage {
            name: "retrieve_chunks",
            kind: "transform",
            action: Action::Pass,
            config: &[("store", r#""pgvector""#), ("topK", "40"), ("metric", r#""cosine""#)],
            passed: &["similarity above 0.7"],
            eliminated: &[],
        },
        Stage {
            name: "drop_outdated",
            kind: "filter",
            action: Action::Sift(0.8),
            config: &[("maxAgeDays", "365"), ("locale", r#""en""#)],
            passed: &["current"],
            eliminated: &["superseded by a newer version", "other locale"],
        },
        Stage {
            name: "score_chunks",
            kind: "score",
            action: Action::Score,
            config: &[("model", r#""cross-encoder-ms-marco""#)],
            passed: &["cross-encoder score"],
            eliminated: &[],
        },
        Stage {
            name: "fit_context_window",
            kind: "rank",
            action: Action::Best(40),
            config: &[("maxTokens", "6000")],
            passed: &["fits"],
            eliminated: &["no tokens left", "nearly the same as a better chunk"],
        },
        Stage {
            name: "generate_answer",
            kind: "llm",
            action: Action::Best(30),
            config: &[("model", r#""gpt-4o""#), ("temperature", "0.2"), ("stop", "null")],
            passed: &["cited in the answer"],
            eliminated: &["not used in the answer"],
        },
    ],
};
