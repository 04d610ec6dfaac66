"""`photodrag edit`."""

from pipeline.cli.options import AsPhotoOptions, EditRecipe, PhotoOptions, PhotoPath
from pipeline.cli.photo import edit_photo
from pipeline.recipes import Recipe


def edit(photo: PhotoPath, /, *, asked: EditRecipe = Recipe(), options: AsPhotoOptions = PhotoOptions()) -> int:
    """Drag points of a photo.

    A drag is HANDLE:TARGET. Both are X,Y in pixels of the photo; or the handle is a landmark's name and the
    target DX%,DY% from it, in percent of the distance between the eyes, along and across the eye line:
    --drag mouth-left:-8%,-6%. Left is the picture's left. What `photodrag retarget` takes (--like, --preset, ...)
    can be given as well, and adds up.

    Landmarks: LANDMARK_NAMES; or a number from 0 to 67, which `photodrag landmarks` shows.
    """
    return edit_photo(photo, asked, options)


def _fill_names() -> None:
    """Put the landmarks' names into the help; they are written down once, in drag.landmarks."""
    from drag.names import NAMES

    assert edit.__doc__ is not None
    edit.__doc__ = edit.__doc__.replace("LANDMARK_NAMES", ", ".join(NAMES))


_fill_names()
