"""`photodrag retarget`."""

from pipeline.cli.options import AsPhotoOptions, PhotoOptions, PhotoPath, RetargetRecipe
from pipeline.cli.photo import edit_photo
from pipeline.recipes import Recipe


def retarget(photo: PhotoPath, /, *, asked: RetargetRecipe = Recipe(), options: AsPhotoOptions = PhotoOptions()) -> int:
    """Give a face another one's expression, or a preset's.

    The landmarks that have to move become handles, others anchors that hold the rest of the face; what may
    change is the region that they belong to. --like, --preset and --points add up, and the --drag of `photodrag edit`
    with them. What a face cannot do is held back with a word about it. How far the landmarks went is told by
    detecting them again on the result; the exit code is 6 where that is less than half of the way.
    """
    return edit_photo(photo, asked, options)
