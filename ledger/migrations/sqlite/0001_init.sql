-- The ledger on SQLite. Its twin on PostgreSQL differs in types only; a test compares the two.

-- Times are milliseconds since 1970 in UTC; money is in minor units; ids of batches, requests, sessions, messages and
-- attempts are the numbers behind b12, b12.345, s7, m7, a7 (a request's id is batch << 32 | row).
-- The CHECKs repeat the state machines of package paylink; a test compares them. They are spelt with OR because SQLite
-- builds a table for every IN list of three or more, at every statement that has to look at it.

CREATE TABLE batches (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  state          TEXT   NOT NULL CHECK (state = 'importing' OR state = 'draft' OR state = 'held' OR state = 'running' OR state = 'paused' OR state = 'halted' OR state = 'done' OR state = 'canceled'),
  name           TEXT   NOT NULL,              -- the file's name, for people
  source_hash    TEXT   NOT NULL,              -- SHA-256 of the content: the same file under another name is the same file
  again          BIGINT NOT NULL DEFAULT 0,    -- how many times the same content was sent on purpose before
  source_format  TEXT   NOT NULL,
  parent         BIGINT REFERENCES batches (id),
  header         TEXT   NOT NULL DEFAULT '[]', -- the file's own columns, for its error file
  options        TEXT   NOT NULL DEFAULT '{}', -- how the file was read
  plan           TEXT   NOT NULL DEFAULT '{}', -- what was confirmed
  imported       BIGINT NOT NULL DEFAULT 0,    -- rows up to this number are in
  rows_total     BIGINT,                       -- known when the file was read whole
  fed            BIGINT NOT NULL DEFAULT 0,    -- rows up to this number were fed or are no longer pending
  canary         BIGINT NOT NULL DEFAULT 0,    -- rows to send first; 0 = none
  brake_percent  BIGINT NOT NULL DEFAULT 10,
  brake_rows     BIGINT NOT NULL DEFAULT 20,
  brake_failed   BIGINT NOT NULL DEFAULT 0,    -- rows that had failed, and rows that were through, when a person last
  brake_through  BIGINT NOT NULL DEFAULT 0,    -- released the brake: it counts from there
  priority       BIGINT NOT NULL DEFAULT 1,
  test           BOOLEAN NOT NULL DEFAULT FALSE,
  receipts       BOOLEAN NOT NULL DEFAULT FALSE, -- who has paid is sent a receipt
  hold_until     BIGINT,                       -- held until then, so that it can be taken back
  needs_approval BOOLEAN NOT NULL DEFAULT FALSE, -- held until a second person approves
  approved_by    TEXT,
  why            TEXT   NOT NULL DEFAULT '',   -- why it is held, halted or canceled
  created_at     BIGINT NOT NULL,
  created_by     TEXT   NOT NULL,
  confirmed_at   BIGINT,
  confirmed_by   TEXT,
  finished_at    BIGINT,
  UNIQUE (source_hash, again)
);
CREATE INDEX batches_active ON batches (id) WHERE state NOT IN ('done', 'canceled');

CREATE TABLE requests (
  id             INTEGER PRIMARY KEY,
  line           BIGINT NOT NULL,
  dispatch       TEXT   NOT NULL CHECK (dispatch = 'pending' OR dispatch = 'in_flight' OR dispatch = 'sent' OR dispatch = 'failed' OR dispatch = 'suppressed' OR dispatch = 'skipped' OR dispatch = 'canceled' OR dispatch = 'unknown'),
  payment        TEXT   NOT NULL CHECK (payment = 'unpaid' OR payment = 'authorized' OR payment = 'partially_paid' OR payment = 'paid' OR payment = 'partially_refunded' OR payment = 'refunded' OR payment = 'expired' OR payment = 'canceled' OR payment = 'written_off' OR payment = 'paid_outside'),
  step           TEXT   NOT NULL CHECK (step = 'none' OR step = 'session' OR step = 'lost' OR step = 'refused' OR step = 'messages' OR step = 'restored'), -- what is owed next, or why nothing can be
  epoch          BIGINT NOT NULL DEFAULT 0,
  next_at        BIGINT NOT NULL DEFAULT 0,    -- not before
  wake_at        BIGINT,                       -- when the sweeper wakes it if nobody else did; NULL = nothing to wake
  tries          BIGINT NOT NULL DEFAULT 0,    -- failed creates that were the row's own
  reference      TEXT   NOT NULL,
  debt_key       BIGINT NOT NULL,
  amount         BIGINT NOT NULL CHECK (amount > 0),
  currency       TEXT   NOT NULL CHECK (length(currency) = 3),
  language       TEXT   NOT NULL,
  country        TEXT   NOT NULL,
  timezone       TEXT   NOT NULL,
  routes         TEXT   NOT NULL,
  due_date       TEXT   NOT NULL,
  expires_in     BIGINT NOT NULL,              -- seconds; 0 = the default
  description    TEXT   NOT NULL,
  customer_id    TEXT   NOT NULL,
  invoice_number TEXT   NOT NULL,
  attachment_url TEXT   NOT NULL,
  secret         BLOB NOT NULL,             -- the unguessable part of the payer's link
  cause          TEXT   NOT NULL DEFAULT '',
  code           TEXT   NOT NULL DEFAULT '',
  paid           BIGINT NOT NULL DEFAULT 0,
  refunded       BIGINT NOT NULL DEFAULT 0,
  canceled_at    BIGINT,
  viewed_at      BIGINT,                       -- the page's script told of a look, perhaps a machine's
  engaged_at     BIGINT,                       -- a person pressed the button
  snoozed_until  BIGINT,
  amended_at     BIGINT,                       -- when a person last changed what is asked or whom
  restored_at    BIGINT,                       -- it was not final in a backup that was restored: messages may have gone out since
  updated_at     BIGINT NOT NULL
);
CREATE INDEX requests_wake ON requests (wake_at) WHERE wake_at IS NOT NULL;
-- The looks of the API and the console: a payer's reference, and the rows that something became of. The pages of what is
-- pending or sent walk the ids.
CREATE INDEX requests_reference ON requests (reference, id) WHERE reference <> '';
CREATE INDEX requests_stuck ON requests (dispatch, id) WHERE dispatch = 'failed' OR dispatch = 'suppressed' OR dispatch = 'skipped' OR dispatch = 'canceled' OR dispatch = 'unknown';
CREATE INDEX requests_moved ON requests (payment, id) WHERE payment <> 'unpaid';
CREATE INDEX requests_debt ON requests (debt_key) WHERE payment = 'unpaid' OR payment = 'authorized' OR payment = 'partially_paid';

-- The only place of personal data beside rejections.raw; redaction empties both.
CREATE TABLE contacts (
  request_id  INTEGER PRIMARY KEY,
  name        TEXT NOT NULL,
  first_name  TEXT NOT NULL,
  last_name   TEXT NOT NULL,
  email       TEXT NOT NULL,
  phone       TEXT NOT NULL,
  extra       TEXT NOT NULL,
  redacted_at BIGINT
);
CREATE INDEX contacts_name ON contacts (lower(name), request_id) WHERE name <> '';
CREATE INDEX contacts_last_name ON contacts (lower(last_name), request_id) WHERE last_name <> '';
CREATE INDEX contacts_email ON contacts (lower(email), request_id) WHERE email <> '';
CREATE INDEX contacts_phone ON contacts (phone, request_id) WHERE phone <> '';

CREATE TABLE rejections (
  batch_id BIGINT NOT NULL REFERENCES batches (id),
  row_no   BIGINT NOT NULL,
  line     BIGINT NOT NULL,
  col      TEXT   NOT NULL,
  kind     TEXT   NOT NULL,
  reason   TEXT   NOT NULL,
  hint     TEXT   NOT NULL,
  raw      TEXT   NOT NULL,                    -- the record in the file's columns, a JSON array
  fixed_in BIGINT,                             -- the request that took its place
  PRIMARY KEY (batch_id, row_no)
);

CREATE TABLE sessions (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id   BIGINT NOT NULL REFERENCES requests (id),
  state        TEXT   NOT NULL CHECK (state = 'intent' OR state = 'open' OR state = 'pending' OR state = 'attempted' OR state = 'authorized' OR state = 'paid' OR state = 'cod' OR state = 'failed' OR state = 'expired' OR state = 'canceled' OR state = 'invalid' OR state = 'voided' OR state = 'refunded' OR state = 'ghost' OR state = 'superseded'),
  order_no     TEXT   NOT NULL UNIQUE,
  provider_id  TEXT   UNIQUE,
  url          TEXT   NOT NULL DEFAULT '',
  amount       BIGINT NOT NULL CHECK (amount > 0),
  currency     TEXT   NOT NULL,
  raw_state    TEXT   NOT NULL DEFAULT '',     -- the provider's own word
  lost         BOOLEAN NOT NULL DEFAULT FALSE, -- the answer to its create was lost
  ending       TEXT   NOT NULL DEFAULT '' CHECK (ending = '' OR ending = 'canceled' OR ending = 'replaced' OR ending = 'renewed' OR ending = 'amended'), -- to be ended at the provider (amended: changed there first), and why
  amend        TEXT   NOT NULL DEFAULT '',     -- the fields to be changed at the provider, by commas
  carried      TEXT   NOT NULL DEFAULT '',     -- amounts that it had or was asked to take, oldest first, by spaces
  lease_until  BIGINT,                         -- while its create or its change is under way
  missing_since BIGINT,                        -- since when the provider says that it has no such session
  check_at     BIGINT,                         -- when to ask the provider next; NULL = no need
  checks       BIGINT NOT NULL DEFAULT 0,
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT,
  revealed_at  BIGINT,                         -- when somebody was first given its link
  ended_at     BIGINT,
  asked_at     BIGINT,                          -- when a payer last had the provider asked about it
  look_at      BIGINT,                          -- when to ask the provider whether it was paid; NULL = no need
  looks        BIGINT NOT NULL DEFAULT 0,       -- how often that was asked
  cards        BOOLEAN NOT NULL DEFAULT FALSE   -- made for a payer who may use saved cards
);
CREATE UNIQUE INDEX sessions_one_live ON sessions (request_id) WHERE state = 'intent' OR state = 'open' OR state = 'pending' OR state = 'attempted';
CREATE INDEX sessions_request ON sessions (request_id);
CREATE INDEX sessions_check ON sessions (check_at) WHERE check_at IS NOT NULL;
-- The largest sums are looked at first: by the number of their digits, and of equally large ones the oldest.
CREATE INDEX sessions_look ON sessions (length(CAST(amount AS TEXT)), look_at, request_id) WHERE look_at IS NOT NULL;

CREATE TABLE messages (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id   BIGINT NOT NULL REFERENCES requests (id),
  purpose      TEXT   NOT NULL,
  channel      TEXT   NOT NULL CHECK (channel = 'email' OR channel = 'sms' OR channel = 'whatsapp'),
  n            BIGINT NOT NULL CHECK (n > 0),
  state        TEXT   NOT NULL CHECK (state = 'owed' OR state = 'claimed' OR state = 'committing' OR state = 'accepted' OR state = 'sent' OR state = 'delivered' OR state = 'read' OR state = 'failed' OR state = 'undelivered' OR state = 'suppressed' OR state = 'unknown' OR state = 'held' OR state = 'canceled'),
  epoch        BIGINT NOT NULL DEFAULT 1,
  next_at      BIGINT NOT NULL,
  wake_at      BIGINT,
  tries        BIGINT NOT NULL DEFAULT 0,      -- temporary failures that were the row's own
  attempts     BIGINT NOT NULL DEFAULT 0,
  checks       BIGINT NOT NULL DEFAULT 0,      -- look-ups since the answer was lost
  provider_ref TEXT   NOT NULL DEFAULT '',
  cause        TEXT   NOT NULL DEFAULT '',
  code         TEXT   NOT NULL DEFAULT '',
  possible_duplicate BOOLEAN NOT NULL DEFAULT FALSE,
  segments     BIGINT NOT NULL DEFAULT 0,
  paid         TEXT   NOT NULL DEFAULT '',     -- what a receipt says (JSON), fixed at its birth: sending it again says the same
  receipt_at   BIGINT,                         -- when to ask the provider for its receipt; NULL = no need
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  UNIQUE (request_id, purpose, channel, n),
  CHECK ((state <> 'accepted' AND state <> 'sent' AND state <> 'delivered' AND state <> 'read') OR provider_ref <> '')
);
-- Channel and batch lead, so that a small batch is found at once behind a million rows of another.
CREATE INDEX messages_wake ON messages (channel, (request_id >> 32), wake_at) WHERE wake_at IS NOT NULL;

CREATE INDEX messages_lost ON messages (id) WHERE state = 'unknown' OR state = 'held';
-- Messages without a final word, whose provider is asked in the end; those are few when callbacks arrive.
CREATE INDEX messages_receipt ON messages (channel, receipt_at) WHERE receipt_at IS NOT NULL;

CREATE TABLE attempts (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id    BIGINT NOT NULL REFERENCES messages (id),
  n             BIGINT NOT NULL,
  state         TEXT   NOT NULL CHECK (state = 'open' OR state = 'accepted' OR state = 'refused' OR state = 'released' OR state = 'unknown' OR state = 'settled'),
  phase         TEXT   NOT NULL CHECK (phase IN ('prepared', 'committing')),
  worker        TEXT   NOT NULL,
  secret        TEXT   NOT NULL,               -- with the id, the token in status callbacks
  lease_until   BIGINT NOT NULL,
  started_at    BIGINT NOT NULL,
  committing_at BIGINT,
  ended_at      BIGINT,
  template_hash TEXT   NOT NULL DEFAULT '',
  bytes_hash    TEXT   NOT NULL DEFAULT '',    -- SHA-256 of what was sent
  address_hash  TEXT   NOT NULL DEFAULT '',    -- whom it was sent to, as in suppressions
  provider_ref  TEXT   NOT NULL DEFAULT '',
  kind          TEXT   NOT NULL DEFAULT '' CHECK (kind = '' OR kind = 'permanent' OR kind = 'temporary' OR kind = 'unknown'),
  cause         TEXT   NOT NULL DEFAULT '',
  code          TEXT   NOT NULL DEFAULT '',
  UNIQUE (message_id, n),
  CHECK (state <> 'accepted' OR provider_ref <> '')
);
-- Two workers can never both be sending, and nobody sends while an answer is lost.
CREATE UNIQUE INDEX attempts_one_open ON attempts (message_id) WHERE state IN ('open', 'unknown');

-- Files that rows name by attachment_url, kept for some days so that a mail sent again has the same bytes. One file of
-- many rows is fetched and kept once.
CREATE TABLE attachments (
  batch_id   BIGINT NOT NULL,
  url_hash   TEXT   NOT NULL,                  -- SHA-256 of the address
  name       TEXT   NOT NULL,
  type       TEXT   NOT NULL,
  hash       TEXT   NOT NULL,                  -- SHA-256 of the bytes
  bytes      BLOB NOT NULL,
  fetched_at BIGINT NOT NULL,
  PRIMARY KEY (batch_id, url_hash)
);
CREATE INDEX attachments_age ON attachments (fetched_at);

CREATE TABLE template_texts (
  hash       TEXT PRIMARY KEY,
  text       TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- Append-only. request_id 0 with first_row..last_row covers a run of rows that moved together (import, feeding, cancel).
CREATE TABLE events (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  at         BIGINT NOT NULL,
  batch_id   BIGINT NOT NULL,
  request_id BIGINT NOT NULL,
  entity     TEXT   NOT NULL,
  entity_id  BIGINT NOT NULL,
  from_state TEXT   NOT NULL,
  to_state   TEXT   NOT NULL,
  actor      TEXT   NOT NULL,
  why        TEXT   NOT NULL,
  first_row  BIGINT NOT NULL DEFAULT 0,
  last_row   BIGINT NOT NULL DEFAULT 0,
  n          BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX events_request ON events (batch_id, request_id, id);

-- The till: counts kept by deltas in the transaction that moves the state. Shards keep concurrent writers apart.
CREATE TABLE tallies (
  batch_id BIGINT NOT NULL,
  kind     TEXT   NOT NULL,                    -- dispatch, payment, rejected; asked, collected (money), reach
  state    TEXT   NOT NULL,
  shard    BIGINT NOT NULL,
  n        BIGINT NOT NULL,
  PRIMARY KEY (batch_id, kind, state, shard)
) WITHOUT ROWID;

-- Addresses are kept as hashes: enough to keep silent, and out of sight. Whoever tries every phone number finds one.
CREATE TABLE suppressions (
  channel      TEXT   NOT NULL,
  address_hash TEXT   NOT NULL,
  reason       TEXT   NOT NULL CHECK (reason = 'opted_out' OR reason = 'bounced' OR reason = 'complained' OR reason = 'manual'),
  source       TEXT   NOT NULL,
  request_id   BIGINT,
  created_at   BIGINT NOT NULL,
  lifted_at    BIGINT,
  PRIMARY KEY (channel, address_hash)
);

-- Money that arrived, wherever it belongs. Refunds are rows of their own.
CREATE TABLE payments (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id  BIGINT NOT NULL REFERENCES requests (id),
  session_id  BIGINT REFERENCES sessions (id),
  kind        TEXT   NOT NULL CHECK (kind = 'authorized' OR kind = 'settled' OR kind = 'refunded' OR kind = 'voided' OR kind = 'outside'),
  amount      BIGINT NOT NULL,
  currency    TEXT   NOT NULL,
  ref         TEXT   NOT NULL,
  source      TEXT   NOT NULL CHECK (source = 'webhook' OR source = 'retrieve' OR source = 'command'),
  flag        TEXT   NOT NULL DEFAULT '',      -- superseded, ghost, late, amount_differs, currency_differs, paid_twice; several by commas
  at          BIGINT NOT NULL,
  UNIQUE (request_id, kind, ref)
);
CREATE INDEX payments_found ON payments (at) WHERE source = 'retrieve';

-- What providers told us, raw, before it was applied. Card tokens are dropped at intake; raw is emptied after 90 days.
CREATE TABLE provider_events (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  provider    TEXT   NOT NULL,
  dedupe      TEXT   NOT NULL,
  session_id  BIGINT,
  message_id  BIGINT,
  received_at BIGINT NOT NULL,
  applied_at  BIGINT,
  outcome     TEXT   NOT NULL DEFAULT '',
  raw         TEXT   NOT NULL,
  UNIQUE (provider, dedupe)
);
CREATE INDEX provider_events_raw ON provider_events (received_at) WHERE raw <> '';
CREATE INDEX provider_events_unapplied ON provider_events (provider, id) WHERE applied_at IS NULL;
CREATE INDEX provider_events_odd ON provider_events (provider, id) WHERE outcome = 'unknown_order' OR outcome = 'session_differs' OR outcome = 'unreadable' OR outcome = 'unsupported';

-- What a person should look at.
CREATE TABLE flags (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  batch_id   BIGINT NOT NULL,
  request_id BIGINT NOT NULL,
  kind       TEXT   NOT NULL,
  detail     TEXT   NOT NULL,
  opened_at  BIGINT NOT NULL,
  closed_at  BIGINT,
  closed_by  TEXT,
  why        TEXT   NOT NULL DEFAULT ''
);
CREATE INDEX flags_open ON flags (id) WHERE closed_at IS NULL;
CREATE INDEX flags_request ON flags (request_id) WHERE closed_at IS NULL;

-- One circuit breaker per outside provider, shared by all processes.
CREATE TABLE gates (
  provider    TEXT PRIMARY KEY,
  state       TEXT   NOT NULL CHECK (state = 'closed' OR state = 'open' OR state = 'probing' OR state = 'halted'),
  opened      BIGINT NOT NULL DEFAULT 0,       -- how many times in a row it opened: the wait doubles
  until       BIGINT NOT NULL DEFAULT 0,
  why         TEXT   NOT NULL DEFAULT '',
  changed_at  BIGINT NOT NULL
);

CREATE TABLE leases (
  name   TEXT PRIMARY KEY,
  holder TEXT   NOT NULL,
  until  BIGINT NOT NULL
);

-- Calls made, by provider, day and class: what is left of the day's budget survives a flush of Redis.
CREATE TABLE usage (
  provider TEXT   NOT NULL,
  day      TEXT   NOT NULL,
  class    TEXT   NOT NULL,
  shard    BIGINT NOT NULL,
  n        BIGINT NOT NULL,
  PRIMARY KEY (provider, day, class, shard)
) WITHOUT ROWID;

-- Who may call the API. hash is the SHA-256 of a random secret that is shown once; hint is its beginning, for people.
CREATE TABLE api_keys (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  name         TEXT   NOT NULL,
  hash         TEXT   NOT NULL UNIQUE,
  hint         TEXT   NOT NULL,
  scope        TEXT   NOT NULL CHECK (scope = 'read' OR scope = 'send' OR scope = 'admin'),
  test         BOOLEAN NOT NULL DEFAULT FALSE,
  created_at   BIGINT NOT NULL,
  created_by   TEXT   NOT NULL,
  expires_at   BIGINT,                         -- NULL = never
  revoked_at   BIGINT,
  revoked_by   TEXT   NOT NULL DEFAULT '',
  last_used_at BIGINT                          -- to the hour
);

-- Answers of the API that are given again when a call is repeated under its Idempotency-Key. They hold no personal data.
CREATE TABLE idempotency_keys (
  api_key_id  BIGINT NOT NULL REFERENCES api_keys (id),
  key_hash    TEXT   NOT NULL,
  fingerprint TEXT   NOT NULL,                 -- SHA-256 of method, address and content
  status      BIGINT NOT NULL DEFAULT 0,       -- 0 while the call is under way
  headers     TEXT   NOT NULL DEFAULT '{}',
  body        TEXT   NOT NULL DEFAULT '',
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (api_key_id, key_hash)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Who may sign in to the console.
CREATE TABLE users (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  name        TEXT   NOT NULL UNIQUE,          -- lower case: a mailbox or a short name
  role        TEXT   NOT NULL CHECK (role = 'viewer' OR role = 'operator' OR role = 'approver' OR role = 'admin'),
  hash        TEXT   NOT NULL,                 -- of the password, argon2id
  disabled_at BIGINT,
  created_at  BIGINT NOT NULL,
  created_by  TEXT   NOT NULL
);

-- Who is signed in. The cookie holds what this is the hash of: a copy of the ledger signs nobody in.
CREATE TABLE console_sessions (
  hash       TEXT PRIMARY KEY,
  user_id    BIGINT NOT NULL REFERENCES users (id),
  created_at BIGINT NOT NULL,
  seen_at    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX console_sessions_user ON console_sessions (user_id);

-- How a person matched the columns of a header: the next file with the same header is read so.
CREATE TABLE column_maps (
  header_hash TEXT PRIMARY KEY,
  mapping     TEXT   NOT NULL,
  updated_at  BIGINT NOT NULL,
  updated_by  TEXT   NOT NULL
);
