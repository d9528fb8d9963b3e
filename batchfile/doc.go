// Package batchfile reads payer files (CSV, XLSX, a JSON array, NDJSON) into checked rows, and writes the rows that were
// not taken back as a file that its author can mend and send again.
//
// [Reader] streams: its memory does not grow with the file. It gives every record of the file as exactly one row or one
// rejection, in order, numbered from 1 without gaps, and the same file always gives the same numbers, so an interrupted
// import goes on where it stopped. A bad row never stops it. What makes the whole file doubtful (no header, a column
// named twice, a quotation mark that is never closed) is a [*FileError] that names the line and the remedy; such an
// error can come after good rows, so nothing may be sent from a file that has not been read to its end.
//
// # What is understood
//
// The encoding is what a byte order mark says; else UTF-8 if the file is that (or nearly: see census), else
// Windows-1256 when its non-ASCII bytes stand in runs, as Arabic words do, and Latin-1 when they stand alone, as European
// accents do. Delimiters are comma, semicolon, tab and bar. Columns may be in any order and case; a column that is not
// known is kept in [paylink.Row.Extra] under the file's own header. The known columns are the fields of record; header.go
// lists what else they may be called. When a file has both the plain name and another name of a column, the plain one
// counts and the other is kept as an extra.
//
// Dates are year first (2027-01-31) or day first (31/01/2027; 03/04/2027 is the third of April). A phone number without
// + belongs to the row's country, or the default one. Amounts are read by [paylink.ParseMoney], which guesses nothing.
// Lines whose cells are all empty do not count as rows. Channels for which a row has no usable address are taken out of
// its routes; a route that loses all its channels makes the row a rejection. A landline is no address for SMS or
// WhatsApp.
//
// Kinds of rejection: amount, currency, email, phone, channels, address, language, country, timezone, due_date,
// expires_in, attachment_url, recurrence, length, control, encoding, cell (a spreadsheet's error value), cells (their
// number), quote, size, json.
//
// The package leaves to others what needs more than one row: duplicates and repeats ([DebtKey] is their common key),
// suppression, limits on totals. The reasons and hints it writes name no payer, address or number; only
// [paylink.Rejection.Raw] holds personal data.
package batchfile
