"""What the commands find out, as a page to look at: one HTML file that needs no other and no network.

`page` renders, `writing` writes, `text` says what of a hostile text is shown; `replay_page` and `check_page` choose
what is on each; `code_changes`, `surroundings` and `timeline` are parts of them. All but `writing` are imported when a
page is asked for, and not before.
"""
