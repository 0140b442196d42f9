"""`swinunet view`: a tree of results in the browser, from this machine only, with a reviewer's marks.

results_tree   the results below a folder
reviews        accepted or rejected, with a comment: review.csv beside the results
tree_page      the page with a row for each result (tree.js, tree.css)
server         HTTP on loopback, for whoever has the key
"""
